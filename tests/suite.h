/* SPDX-License-Identifier: BSD-3-Clause */
/* The end of a test program's main. */
#ifndef VFIO_USERD_TEST_SUITE_H
#define VFIO_USERD_TEST_SUITE_H

#include <check.h>
#include <stdlib.h>

/* Runs a suite, and frees it; returns the exit status. */
static inline int run_suite(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif

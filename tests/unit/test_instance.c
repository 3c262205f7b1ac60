/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "instance.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit/fakes.h"

static struct instance at;

START_TEST(places_by_name)
{
    unsetenv("VFIO_USERD_CONFIG_DIR");
    unsetenv("VFIO_USERD_RUN_DIR");
    ck_assert_int_eq(instance_init(&at, "dev0"), 0);
    ck_assert_str_eq(at.name, "dev0");
    ck_assert_str_eq(at.config, CONFIG_DIR "/dev0.json");
    ck_assert_str_eq(at.folder, RUN_DIR "/dev0");
    ck_assert_str_eq(at.device_socket, RUN_DIR "/dev0/device.sock");
    ck_assert_str_eq(at.control_socket, RUN_DIR "/dev0/control.sock");
    setenv("VFIO_USERD_CONFIG_DIR", "/a", 1);
    setenv("VFIO_USERD_RUN_DIR", "/b", 1);
    ck_assert_int_eq(instance_init(&at, "x_Y-9."), 0);
    ck_assert_str_eq(at.config, "/a/x_Y-9..json");
    ck_assert_str_eq(at.control_socket, "/b/x_Y-9./control.sock");
    setenv("VFIO_USERD_RUN_DIR", "", 1); /* as if it were not set */
    ck_assert_int_eq(instance_init(&at, "dev0"), 0);
    ck_assert_str_eq(at.folder, RUN_DIR "/dev0");
}
END_TEST

START_TEST(names_are_checked)
{
    static const char *const bad[] = {
        "", ".", "..", ".dev0", "a/b", "/", "a b", "a\nb", "a\\x2db"
    };
    char longest[INSTANCE_NAME_BYTES + 1];
    char folder[PATH_MAX];

    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
        ck_assert_msg(instance_init(&at, bad[i]) == -EINVAL, "\"%s\" is taken", bad[i]);
    memset(longest, 'x', sizeof(longest));
    longest[INSTANCE_NAME_BYTES] = '\0';
    ck_assert_int_eq(instance_init(&at, longest), -ENAMETOOLONG);
    longest[INSTANCE_NAME_BYTES - 1] = '\0';
    ck_assert_int_eq(instance_init(&at, longest), 0);
    memset(folder, 'f', sizeof(folder));
    folder[PATH_MAX - 1] = '\0';
    setenv("VFIO_USERD_RUN_DIR", folder, 1);
    ck_assert_int_eq(instance_init(&at, "dev0"), -ENAMETOOLONG);
}
END_TEST

START_TEST(names_from_paths)
{
    static const struct {
        const char *path;
        const char *name;
    } cases[] = {
        { "/run/vfio-userd/dev0/device.sock", "dev0" },
        { "dev0/device.sock", "dev0" },
        { "/tmp/vfio.sock", "vfio.sock" },
        { "vfio.sock", "vfio.sock" },
        { "device.sock", "device.sock" },
        { "/device.sock", "device.sock" },
        { NULL, "vfio-userd" },
    };
    char name[INSTANCE_NAME_BYTES];

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        instance_name_from_path(cases[i].path, name);
        ck_assert_str_eq(name, cases[i].name);
    }
}
END_TEST

START_TEST(the_folder_is_made)
{
    char dir[] = "/tmp/vfio-userd-test.XXXXXX";
    char parent[64];
    struct stat st;

    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(parent, sizeof(parent), "%s/run", dir);
    setenv("VFIO_USERD_RUN_DIR", parent, 1);
    ck_assert_int_eq(instance_init(&at, "dev0"), 0);
    umask(077);
    ck_assert_int_eq(instance_make_folder(&at), 0);
    ck_assert_int_eq(stat(parent, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0755);
    ck_assert_int_eq(stat(at.folder, &st), 0);
    ck_assert(S_ISDIR(st.st_mode));
    ck_assert_int_eq(st.st_mode & 0777, 0755);
    ck_assert_int_eq(instance_make_folder(&at), 0); /* it is there */
    ck_assert_int_eq(rmdir(at.folder), 0);
    ck_assert_int_eq(rmdir(parent), 0);
    ck_assert_int_eq(rmdir(dir), 0);
    setenv("VFIO_USERD_RUN_DIR", "/proc/none/run", 1);
    ck_assert_int_eq(instance_init(&at, "dev0"), 0);
    ck_assert_int_eq(instance_make_folder(&at), -ENOENT);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        places_by_name,
        names_are_checked,
        names_from_paths,
        the_folder_is_made,
    };

    return fake_run("instance", tests, ARRAY_SIZE(tests), NULL, 0);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "unit/fakes.h"

/* Standard error goes to a pipe here, and comes out of it as text. */
static int reader;
static char text[65536];

static void capture(void)
{
    int pipes[2];

    ck_assert_int_eq(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
    ck_assert_int_eq(dup2(pipes[1], STDERR_FILENO), STDERR_FILENO);
    close(pipes[1]);
    reader = pipes[0];
}

static const char *captured(void)
{
    ssize_t n = read(reader, text, sizeof(text) - 1);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static unsigned count_lines(const char *at)
{
    unsigned n = 0;

    for (; *at != '\0'; at++)
        n += *at == '\n';
    return n;
}

START_TEST(levels_filter)
{
    static const enum log_level levels[] = { LOG_LEVEL_ERR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO,
                                             LOG_LEVEL_DEBUG };

    capture();
    ck_assert(log_enabled(LOG_LEVEL_INFO)); /* before anybody has set one */
    ck_assert(!log_enabled(LOG_LEVEL_DEBUG));
    for (unsigned i = 0; i < ARRAY_SIZE(levels); i++) {
        log_set_level(levels[i]);
        log_err("m", "e");
        log_warning("m", "w");
        log_info("m", "i");
        log_debug("m", "d");
        ck_assert_uint_eq(count_lines(captured()), i + 1);
        for (unsigned j = 0; j < ARRAY_SIZE(levels); j++)
            ck_assert_int_eq(log_enabled(levels[j]), j <= i);
    }
    ck_assert_str_eq(text, "m: e\nm: w\nm: i\nm: d\n");
}
END_TEST

START_TEST(words_are_levels)
{
    enum log_level level = LOG_LEVEL_DEBUG;

    ck_assert_int_eq(log_level_parse("err", &level), 0);
    ck_assert_int_eq(level, 3);
    ck_assert_int_eq(log_level_parse("warning", &level), 0);
    ck_assert_int_eq(level, 4);
    ck_assert_int_eq(log_level_parse("info", &level), 0);
    ck_assert_int_eq(level, 6);
    ck_assert_int_eq(log_level_parse("debug", &level), 0);
    ck_assert_int_eq(level, 7);
    ck_assert_int_eq(log_level_parse("Info", &level), -EINVAL);
    ck_assert_int_eq(log_level_parse("", &level), -EINVAL);
    ck_assert_int_eq(log_level_parse("info ", &level), -EINVAL);
    ck_assert_int_eq(level, 7);
}
END_TEST

START_TEST(prefixes_are_for_a_service_manager)
{
    capture();
    log_set_prefixes(true);
    log_err("session", "reason %d", 5);
    log_info("session", "%s", "more");
    ck_assert_str_eq(captured(), "<3>session: reason 5\n<6>session: more\n");
    log_set_prefixes(false);
    log_warning("session", "plain");
    ck_assert_str_eq(captured(), "session: plain\n");
}
END_TEST

START_TEST(control_characters_are_escaped)
{
    char all[256];
    unsigned n = 0;

    capture();
    log_info("m", "a\nb: forged\tline\r\x1b[31m\x7f");
    ck_assert_str_eq(captured(), "m: a\\x0ab: forged\\x09line\\x0d\\x1b[31m\\x7f\n");
    log_info("m", "%s",
             "Gr\xc3\xbc\xc3\x9f"
             "e %s %n \\ \"");
    ck_assert_str_eq(captured(), "m: Gr\xc3\xbc\xc3\x9f"
                                 "e %s %n \\ \"\n");
    for (int c = 1; c < 256; c++)
        all[n++] = (char)c;
    all[n] = '\0';
    log_info("m", "%s", all);
    for (const char *at = captured(); *at != '\0' && at[1] != '\0'; at++)
        ck_assert((unsigned char)*at >= 0x20 && *at != 0x7f);
    ck_assert_uint_eq(count_lines(text), 1);
}
END_TEST

START_TEST(a_long_line_is_cut_and_whole)
{
    static char longest[10000];

    capture();
    memset(longest, 'x', sizeof(longest) - 1);
    log_set_prefixes(true);
    log_info("m", "%s", longest);
    ck_assert_uint_eq(count_lines(captured()), 1);
    ck_assert_uint_gt(strlen(text), 1000);
    ck_assert_uint_lt(strlen(text), 4096);
    ck_assert_int_eq(text[strlen(text) - 1], '\n');
    memset(longest, '\n', sizeof(longest) - 1); /* each takes four */
    log_info("m", "%s", longest);
    ck_assert_uint_eq(count_lines(captured()), 1);
    ck_assert_uint_lt(strlen(text), 4096);
}
END_TEST

START_TEST(a_full_log_is_no_trouble)
{
    capture();
    for (int i = 0; i < 10000; i++) /* more than the pipe holds; it is not waited for */
        log_info("m", "line %d of many", i);
    close(reader);
    ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(lines_of_a_peer_are_limited)
{
    struct log_limit limit = { 0 };
    unsigned passed = 0;

    capture();
    for (unsigned i = 0; i < 100; i++)
        passed += log_limit_pass(&limit, "peer");
    ck_assert_uint_eq(passed, LOG_LIMIT_BURST);
    ck_assert_str_eq(captured(), "");
    limit.since -= LOG_LIMIT_SECONDS - 1; /* nearly */
    ck_assert(!log_limit_pass(&limit, "peer"));
    limit.since -= 2;
    ck_assert(log_limit_pass(&limit, "peer"));
    ck_assert_ptr_nonnull(strstr(captured(), "peer: 91 more lines"));
    ck_assert_uint_eq(count_lines(text), 1);
    for (unsigned i = 1; i < LOG_LIMIT_BURST; i++)
        ck_assert(log_limit_pass(&limit, "peer"));
    ck_assert(!log_limit_pass(&limit, "peer"));
    ck_assert_str_eq(captured(), "");
}
END_TEST

START_TEST(limits_are_apart)
{
    struct log_limit a = { 0 };
    struct log_limit b = { 0 };

    while (log_limit_pass(&a, "peer"))
        ;
    ck_assert(log_limit_pass(&b, "peer"));
    ck_assert(!log_limit_pass(&a, "peer"));
}
END_TEST

/* What a writer gets, kept. */
static struct {
    struct log_record record;
    char text[256];
    char fields[256]; /* NAME=VALUE; … */
    unsigned calls;
} written;

static bool written_by_us = true;

static bool keep(void *opaque, const struct log_record *record)
{
    ck_assert_ptr_eq(opaque, &written);
    written.record = *record;
    written.calls++;
    snprintf(written.text, sizeof(written.text), "%s", record->text);
    written.fields[0] = '\0';
    for (const struct log_field *f = record->fields; f != NULL && f->name != NULL; f++) {
        char *end = written.fields + strlen(written.fields);
        size_t room = sizeof(written.fields) - strlen(written.fields);

        if (f->text != NULL)
            snprintf(end, room, "%s=%s;", f->name, f->text);
        else
            snprintf(end, room, "%s=%lld;", f->name, (long long)f->number);
    }
    return written_by_us;
}

START_TEST(a_writer_gets_lines_instead)
{
    capture();
    log_set_writer(keep, &written);
    log_warning("m", "a\nb %d", 1);
    ck_assert_uint_eq(written.calls, 1);
    ck_assert_int_eq(written.record.level, LOG_LEVEL_WARNING);
    ck_assert_str_eq(written.record.module, "m");
    ck_assert_str_eq(written.text, "a\\x0ab 1");
    ck_assert_int_eq(written.record.event, LOG_EVENT_NONE);
    ck_assert_str_eq(written.fields, "");
    log_debug("m", "below the level");
    ck_assert_uint_eq(written.calls, 1);
    ck_assert_str_eq(captured(), "");
    written_by_us = false; /* it cannot: stderr is better than nothing */
    log_info("m", "not there");
    ck_assert_uint_eq(written.calls, 2);
    ck_assert_str_eq(captured(), "m: not there\n");
    log_set_writer(NULL, NULL);
    log_info("m", "back");
    ck_assert_uint_eq(written.calls, 2);
    ck_assert_str_eq(captured(), "m: back\n");
}
END_TEST

START_TEST(events_have_fields)
{
    log_set_writer(keep, &written);
    log_event(LOG_EVENT_CLIENT_REFUSED,
              LOG_FIELDS(LOG_NUMBER("CLIENT_PID", 4294967297), LOG_TEXT("REASON", "a reason")),
              LOG_LEVEL_ERR, "m", "no %s", "way");
    ck_assert_int_eq(written.record.event, LOG_EVENT_CLIENT_REFUSED);
    ck_assert_int_eq(written.record.level, LOG_LEVEL_ERR);
    ck_assert_str_eq(written.text, "no way");
    ck_assert_str_eq(written.fields, "CLIENT_PID=4294967297;REASON=a reason;");
    log_event(LOG_EVENT_OUT_OF_FDS, NULL, LOG_LEVEL_INFO, "m", "none");
    ck_assert_int_eq(written.record.event, LOG_EVENT_OUT_OF_FDS);
    ck_assert_str_eq(written.fields, "");
    log_set_writer(NULL, NULL);
    capture();
    log_event(LOG_EVENT_OUT_OF_FDS, LOG_FIELDS(LOG_NUMBER("N", 1)), LOG_LEVEL_INFO, "m", "plain");
    ck_assert_str_eq(captured(), "m: plain\n"); /* on a terminal, the text alone */
}
END_TEST

START_TEST(a_limit_holds_for_its_lines)
{
    struct log_limit limit = { 0 };

    capture();
    for (unsigned i = 0; i < 3 * LOG_LIMIT_BURST; i++)
        log_limited(&limit, LOG_LEVEL_WARNING, "peer", "line %u", i);
    ck_assert_uint_eq(count_lines(captured()), LOG_LIMIT_BURST);
    ck_assert_ptr_nonnull(strstr(text, "peer: line 9\n"));
}
END_TEST

/* The catalog explains every event, once, and no other. */
START_TEST(the_catalog_has_all_events)
{
    char path[4096];
    char line[256];
    unsigned seen[LOG_EVENT_COUNT] = { 0 };
    unsigned entries = 0;
    FILE *file;

    snprintf(path, sizeof(path), "%s/units/vfio-userd.catalog", getenv("top_srcdir"));
    file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "-- ", 3) != 0)
            continue;
        entries++;
        line[strcspn(line, "\n")] = '\0';
        for (int e = LOG_EVENT_NONE + 1; e < LOG_EVENT_COUNT; e++)
            seen[e] += strcmp(line + 3, log_event_id((enum log_event)e)) == 0;
    }
    fclose(file);
    ck_assert_ptr_null(log_event_id(LOG_EVENT_NONE));
    ck_assert_uint_eq(entries, LOG_EVENT_COUNT - 1);
    for (int e = LOG_EVENT_NONE + 1; e < LOG_EVENT_COUNT; e++) {
        ck_assert_uint_eq(strlen(log_event_id((enum log_event)e)), 32);
        ck_assert_msg(seen[e] == 1, "event %d stands %u times in the catalog", e, seen[e]);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        levels_filter,
        words_are_levels,
        prefixes_are_for_a_service_manager,
        control_characters_are_escaped,
        a_long_line_is_cut_and_whole,
        a_full_log_is_no_trouble,
        lines_of_a_peer_are_limited,
        limits_are_apart,
        a_writer_gets_lines_instead,
        events_have_fields,
        a_limit_holds_for_its_lines,
        the_catalog_has_all_events,
    };

    return fake_run("log", tests, ARRAY_SIZE(tests), NULL, 0);
}

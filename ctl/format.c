/* SPDX-License-Identifier: BSD-3-Clause */
#include "format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S  1000000000ll
#define NS_PER_MS 1000000ll

const char *format_time(long long ns, char out[FORMAT_BYTES])
{
    time_t seconds = (time_t)(ns / NS_PER_S);
    struct tm tm;
    size_t len = 0;

    if (ns >= 0 && localtime_r(&seconds, &tm) != NULL)
        len = strftime(out, FORMAT_BYTES, "%Y-%m-%d %H:%M:%S", &tm);
    if (len == 0)
        return strcpy(out, "no time");
    snprintf(out + len, FORMAT_BYTES - len, ".%03lld", ns % NS_PER_S / NS_PER_MS);
    return out;
}

const char *format_uptime(long long seconds, char out[FORMAT_BYTES])
{
    long long days = seconds / 86400;
    int len = 0;

    if (days > 0)
        len = snprintf(out, FORMAT_BYTES, "%lld d ", days);
    snprintf(out + len, FORMAT_BYTES - (size_t)len, "%02lld:%02lld:%02lld", seconds / 3600 % 24,
             seconds / 60 % 60, seconds % 60);
    return out;
}

const char *format_size(long long bytes, char out[FORMAT_BYTES])
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    long long unit = 1;
    unsigned i = 0;

    while (i < 6 && bytes / unit >= 1024) {
        unit *= 1024;
        i++;
    }
    if (bytes % unit == 0)
        snprintf(out, FORMAT_BYTES, "%lld %s", bytes / unit, units[i]);
    else
        snprintf(out, FORMAT_BYTES, "%.1f %s", (double)bytes / (double)unit, units[i]);
    return out;
}

const char *format_duration(double ns, char out[FORMAT_BYTES])
{
    static const char *const units[] = { "ns", "us", "ms", "s" };
    unsigned i = 0;

    while (i < 3 && ns >= 999.5) {
        ns /= 1000;
        i++;
    }
    snprintf(out, FORMAT_BYTES, "%.*f %s",
             i == 0 || ns >= 99.95 ? 0
             : ns >= 9.995         ? 1
                                   : 2,
             ns, units[i]);
    return out;
}

const char *format_count(long long n, const char *what, char out[FORMAT_BYTES])
{
    snprintf(out, FORMAT_BYTES, "%lld %s%s", n, what, n == 1 ? "" : "s");
    return out;
}

static bool has_colours(void)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");

    return (no_color == NULL || no_color[0] == '\0') && term != NULL && term[0] != '\0' &&
           strcmp(term, "dumb") != 0 && isatty(STDOUT_FILENO) == 1;
}

const char *format_style(enum format_style style)
{
    static const char *const sequences[] = {
        [FORMAT_PLAIN] = "\033[0m",    [FORMAT_LABEL] = "\033[1m", [FORMAT_GOOD] = "\033[32m",
        [FORMAT_WARNING] = "\033[33m", [FORMAT_BAD] = "\033[31m",
    };

    return has_colours() ? sequences[style] : "";
}

void format_label(const char *label)
{
    printf("%s%-13s%s", format_style(FORMAT_LABEL), label, format_style(FORMAT_PLAIN));
}

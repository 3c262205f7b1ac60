/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ctl.h"

/* In /proc/net/unix: somebody listens. */
#define SO_ACCEPTCON 0x10000u

const char *ctl_run_dir(void)
{
    const char *dir = getenv("VFIO_USERD_RUN_DIR");

    return dir != NULL && dir[0] != '\0' ? dir : RUN_DIR;
}

int ctl_instance_socket(const char *name, char path[PATH_MAX])
{
    int len = snprintf(path, PATH_MAX, "%s/%s/control.sock", ctl_run_dir(), name);

    return len < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int has_socket(const struct dirent *entry)
{
    char path[PATH_MAX];
    struct stat st;

    return entry->d_name[0] != '.' && ctl_instance_socket(entry->d_name, path) == 0 &&
           stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* The index of the name whose socket is at path, or n. */
static int find_path(struct dirent **entries, int n, const char *path)
{
    char candidate[PATH_MAX];
    int i;

    for (i = 0; i < n; i++) {
        if (ctl_instance_socket(entries[i]->d_name, candidate) == 0 && strcmp(candidate, path) == 0)
            break;
    }
    return i;
}

/* Marks those that are listened at; returns how many. */
static int find_listeners(struct dirent **entries, int n, bool *listens)
{
    FILE *table = fopen("/proc/net/unix", "re");
    char line[PATH_MAX + 128];
    char path[PATH_MAX];
    unsigned flags;
    int found = 0;

    while (table != NULL && fgets(line, sizeof(line), table) != NULL) {
        int i = n;

        /* "Num RefCount Protocol Flags Type St Inode Path" */
        if (sscanf(line, "%*s %*s %*s %x %*s %*s %*s %4095[^\n]", &flags, path) == 2 &&
            (flags & SO_ACCEPTCON) != 0)
            i = find_path(entries, n, path);
        if (i < n && !listens[i]) {
            listens[i] = true;
            found++;
        }
    }
    if (table != NULL)
        fclose(table);
    return found;
}

int ctl_list_instances(char ***out)
{
    struct dirent **entries;
    int n = scandir(ctl_run_dir(), &entries, has_socket, versionsort);
    bool *listens = calloc(n > 0 ? (size_t)n : 1, sizeof(*listens));
    char **names = calloc(n > 0 ? (size_t)n : 1, sizeof(*names));
    int err = n < 0 ? -errno : listens == NULL || names == NULL ? -ENOMEM : 0;
    int found = 0;
    bool any;

    if (err == 0) {
        any = find_listeners(entries, n, listens) > 0;
        for (int i = 0; i < n; i++) {
            if ((listens[i] || !any) && (names[found] = strdup(entries[i]->d_name)) != NULL)
                found++;
        }
        *out = names;
    } else {
        free(names);
    }
    for (int i = 0; i < n; i++)
        free(entries[i]);
    if (n >= 0)
        free(entries);
    free(listens);
    return err != 0 ? err : found;
}

void ctl_free_instances(char **names, int n)
{
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

static void print_none(int err)
{
    if (err == 0 || err == -ENOENT)
        fprintf(stderr, "vfuctl: no instance runs under %s: say which with -d NAME or -S PATH\n",
                ctl_run_dir());
    else
        fprintf(stderr, "vfuctl: %s: %s: say which instance with -d NAME or -S PATH\n",
                ctl_run_dir(), strerror(-err));
}

static int find_only(char path[PATH_MAX])
{
    char **names;
    int n = ctl_list_instances(&names);
    int err = n < 0 ? n : 0;

    if (n == 1)
        err = ctl_instance_socket(names[0], path);
    if (n > 1) {
        fprintf(stderr, "vfuctl: %d instances run: say which with -d NAME:", n);
        for (int i = 0; i < n; i++)
            fprintf(stderr, " %s", names[i]);
        fputc('\n', stderr);
    } else if (n <= 0 || err != 0) {
        print_none(err);
    }
    if (n >= 0)
        ctl_free_instances(names, n);
    if (err != 0 && err != -ENOENT)
        return CTL_UNREACHABLE;
    return n == 1 ? CTL_DONE : CTL_USAGE;
}

int ctl_find_socket(const struct ctl *ctl, char path[PATH_MAX])
{
    const char *given = ctl->socket != NULL ? ctl->socket : ctl->instance;
    int err;

    if (given == NULL)
        return find_only(path);
    if (ctl->socket != NULL)
        err = snprintf(path, PATH_MAX, "%s", given) < PATH_MAX ? 0 : -ENAMETOOLONG;
    else
        err = ctl_instance_socket(given, path);
    if (err == 0)
        return CTL_DONE;
    fprintf(stderr, "vfuctl: %.40s...: %s\n", given, strerror(-err));
    return CTL_UNREACHABLE;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "server.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STEP_MS        5
#define START_STEPS    2000
#define END_STEPS      1000
#define NOT_EXECUTABLE 127

/*
 * Words
 */

struct words {
    char **at; /* NULL at the end */
    size_t n;
};

static void words_fini(struct words *w)
{
    for (size_t i = 0; i < w->n; i++)
        free(w->at[i]);
    free(w->at);
}

/* Takes word, which may be NULL for one that could not be made. */
static int add_word(struct words *w, char *word)
{
    char **at = word == NULL ? NULL : realloc(w->at, (w->n + 2) * sizeof(*at));

    if (at == NULL) {
        free(word);
        return -ENOMEM;
    }
    w->at = at;
    w->at[w->n++] = word;
    w->at[w->n] = NULL;
    return 0;
}

/* Copies the word at *at, without its quotes, to out; *at is behind it then. */
static int take_word(const char **at, char *out)
{
    const char *p = *at;
    char quote = '\0';

    for (; *p != '\0' && (quote != '\0' || strchr(" \t\n", *p) == NULL); p++) {
        if (quote == '\0' && (*p == '\'' || *p == '"'))
            quote = *p;
        else if (*p == quote)
            quote = '\0';
        else if (*p == '\\' && quote != '\'' && p[1] != '\0')
            *out++ = *++p;
        else
            *out++ = *p;
    }
    *out = '\0';
    *at = p;
    return quote == '\0' ? 0 : -EINVAL;
}

/* The word with its first "{}" replaced; *found when there was one. */
static char *with_path(const char *word, const char *path, bool *found)
{
    const char *hole = strstr(word, "{}");
    char *text = NULL;

    if (hole == NULL)
        return strdup(word);
    *found = true;
    return asprintf(&text, "%.*s%s%s", (int)(hole - word), word, path, hole + 2) < 0 ? NULL : text;
}

static int split(const char *command, const char *path, struct words *out)
{
    char *word = malloc(strlen(command) + 1);
    bool found = false;
    int err = word == NULL ? -ENOMEM : 0;

    while (err == 0) {
        command += strspn(command, " \t\n");
        if (*command == '\0')
            break;
        err = take_word(&command, word);
        if (err == 0)
            err = add_word(out, with_path(word, path, &found));
    }
    free(word);
    if (err == 0 && (out->n == 0 || out->at[0][0] == '\0'))
        err = -EINVAL;
    if (err == 0 && !found)
        err = add_word(out, strdup("--socket-path"));
    if (err == 0 && !found)
        err = add_word(out, strdup(path));
    return err;
}

int server_check(const char *command)
{
    struct words words = { 0 };
    int err = split(command, "", &words);

    words_fini(&words);
    return err;
}

/*
 * The process
 */

_Noreturn static void run(char **argv)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    execvp(argv[0], argv);
    fprintf(stderr, "vfu-client: %s: %s\n", argv[0], strerror(errno));
    _exit(NOT_EXECUTABLE);
}

int server_start(const char *command, const char *path, struct server *out)
{
    struct words words = { 0 };
    struct stat st;
    int err = lstat(path, &st) == 0 ? -EEXIST : split(command, path, &words);

    out->path = err == 0 ? strdup(path) : NULL;
    if (err == 0 && out->path == NULL)
        err = -ENOMEM;
    if (err == 0) {
        fflush(NULL);
        out->pid = fork();
        if (out->pid == 0)
            run(words.at);
        if (out->pid < 0) {
            err = -errno;
            out->pid = 0;
        }
    }
    words_fini(&words);
    return err;
}

static void pause_ms(long ms)
{
    const struct timespec t = { .tv_nsec = ms * 1000000 };

    nanosleep(&t, NULL);
}

int server_connect(struct server *s, struct client **out)
{
    for (int i = 0; i < START_STEPS; i++) {
        int err = client_connect(s->path, out);

        if (err != -ENOENT && err != -ECONNREFUSED)
            return err;
        if (waitpid(s->pid, NULL, WNOHANG) == s->pid) {
            s->pid = 0;
            return -ECHILD;
        }
        pause_ms(STEP_MS);
    }
    return -ETIMEDOUT;
}

/* Waits for its end; false when it does not come in time. */
static bool ends(pid_t pid, int *status)
{
    for (int i = 0; i < END_STEPS; i++) {
        if (waitpid(pid, status, WNOHANG) == pid)
            return true;
        pause_ms(STEP_MS);
    }
    return false;
}

int server_end(struct server *s)
{
    int status = 0;
    int result;

    kill(s->pid, SIGTERM);
    if (ends(s->pid, &status)) {
        result = WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
    } else {
        kill(s->pid, SIGKILL);
        waitpid(s->pid, &status, 0);
        result = -ETIMEDOUT;
    }
    s->pid = 0;
    unlink(s->path);
    return result;
}

void server_fini(struct server *s)
{
    if (s->pid > 0)
        server_end(s);
    free(s->path);
    *s = (struct server) { 0 };
}

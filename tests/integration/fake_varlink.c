/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake_varlink SOCKET SCRIPT: a server at the UNIX socket SOCKET that answers calls as the file
 * SCRIPT says, one connection after the other, and prints each call on a line. Each line of SCRIPT
 * is the end of a method's name and what to do at a call of it; all its lines are done in order:
 *
 *   METHOD {...}    sends the message
 *   METHOD bytes T  sends the text T as it is
 *   METHOD close    closes the connection
 *   accept close    closes each connection at once
 */
#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"
#include "varlink.h"

#define MAX_LINES 64

struct script {
    char *lines[MAX_LINES];
    unsigned n;
};

static void fail(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

static void read_script(const char *path, struct script *s)
{
    FILE *file = fopen(path, "re");
    size_t size = 0;

    if (file == NULL)
        fail(path);
    while (s->n < MAX_LINES && getline(&s->lines[s->n], &size, file) > 0) {
        s->lines[s->n][strcspn(s->lines[s->n], "\n")] = '\0';
        s->n++;
        size = 0;
    }
    fclose(file);
}

/* What the line has to do at that event, or NULL. */
static const char *action(const char *line, const char *event)
{
    size_t len = strlen(event);

    return strncmp(line, event, len) == 0 && line[len] == ' ' ? line + len + 1 : NULL;
}

/* Returns false: the connection is to be closed. */
static bool act(struct varlink *v, const char *what)
{
    struct json_object *message;
    int err;

    if (strcmp(what, "close") == 0)
        return false;
    if (strncmp(what, "bytes ", 6) == 0)
        return send(varlink_fd(v), what + 6, strlen(what + 6) + 1, MSG_NOSIGNAL) > 0;
    message = json_tokener_parse(what);
    if (message == NULL)
        fail(what);
    err = varlink_send(v, message);
    json_object_put(message);
    return err == 0 && varlink_flush(v) == 0;
}

static bool answer(const struct script *s, struct varlink *v, struct json_object *call)
{
    struct json_object *name = NULL;
    const char *method;

    puts(json_object_to_json_string_ext(call, JSON_C_TO_STRING_PLAIN));
    json_object_object_get_ex(call, "method", &name);
    method = name != NULL ? strrchr(json_object_get_string(name), '.') : NULL;
    for (unsigned i = 0; method != NULL && i < s->n; i++) {
        const char *what = action(s->lines[i], method + 1);

        if (what != NULL && !act(v, what))
            return false;
    }
    return true;
}

static void serve(const struct script *s, struct varlink *v)
{
    struct pollfd p = { .fd = varlink_fd(v), .events = POLLIN };
    struct json_object *call;
    bool open = true;

    for (unsigned i = 0; i < s->n; i++)
        open = open && action(s->lines[i], "accept") == NULL;
    while (open && poll(&p, 1, -1) == 1 && varlink_fill(v) >= 0) {
        while (open && varlink_next(v, &call) == 1) {
            open = answer(s, v, call);
            json_object_put(call);
        }
    }
}

int main(int argc, char **argv)
{
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct script script = { .n = 0 };
    struct sockaddr_un address;
    struct varlink *v;
    int fd;

    if (argc != 3)
        return EXIT_FAILURE;
    setvbuf(stdout, NULL, _IOLBF, 0);
    read_script(argv[2], &script);
    if (peer_address(argv[1], &address) != 0 ||
        bind(listener, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(listener, 8) != 0)
        fail(argv[1]);
    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0 && varlink_new(fd, &v) == 0) {
        serve(&script, v);
        varlink_free(v);
    }
    fail("accept");
}

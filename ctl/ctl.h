/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What vfuctl's commands share: the table that each command is described by, which parsing, --help,
 * shell completion and the man page's test are made from; and the calls to the daemon.
 */
#ifndef VFIO_USERD_CTL_H
#define VFIO_USERD_CTL_H

#include <json-c/json.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

/* Exit status of vfuctl. */
enum ctl_exit {
    CTL_DONE = 0,
    CTL_REFUSED = 1, /* the daemon said no */
    CTL_USAGE = 2,
    CTL_UNREACHABLE = 3, /* no daemon answers */
};

#define CTL_MAX_OPTIONS 8

/*
 * An option, or a command's argument. What its value is called says to completion what it is: NAME
 * is an instance, FILE and PATH are files, DEST either.
 */
struct ctl_option {
    const char *name;    /* without its hyphens; NULL ends a table */
    char letter;         /* 0: none */
    const char *value;   /* what help calls its value; NULL: it takes none */
    const char *choices; /* all values that it takes, as "hex|raw"; NULL: any */
    long max;            /* not 0: its value is a number from 0 to this */
    const char *help;    /* lines, with a newline between two */
};

/* What stood on the command line; NULL: it did not. An option without a value has "". */
struct ctl_args {
    const char *options[CTL_MAX_OPTIONS]; /* by the index in the command's table */
    const char *argument;
};

struct ctl_command;

/* The options that every command takes, before the command or behind it. */
struct ctl {
    const struct ctl_command *command;
    const char *instance; /* -d */
    const char *socket;   /* -S */
    bool json;
    bool quiet;
};

/*
 * Either run does it all and returns the exit status; or, where run is NULL, method is called with
 * parameters (NULL: none) and print prints the reply for people.
 */
struct ctl_command {
    const char *name;
    const char *summary;              /* one line */
    const char *help;                 /* more, complete lines; NULL: no more */
    struct ctl_option argument;       /* name NULL: it takes none; else it is needed */
    const struct ctl_option *options; /* at most CTL_MAX_OPTIONS; NULL: none */
    bool owners_only;                 /* root and the daemon's user may, nobody else */
    const char *method;
    struct json_object *(*parameters)(const struct ctl_args *args);
    void (*print)(struct json_object *reply);
    int (*run)(const struct ctl *ctl, const struct ctl_args *args);
};

extern const struct ctl_command ctl_status;
extern const struct ctl_command ctl_trigger_irq;
extern const struct ctl_command ctl_dump_config;
extern const struct ctl_command ctl_capture;
extern const struct ctl_command ctl_load;
extern const struct ctl_command ctl_reset;
extern const struct ctl_command ctl_reload;
extern const struct ctl_command ctl_save;
extern const struct ctl_command ctl_monitor;
extern const struct ctl_command ctl_stats;
extern const struct ctl_command ctl_log_level;
extern const struct ctl_command ctl_migrate;
extern const struct ctl_command ctl_quit;

/*
 * Options (options.c)
 */

/*
 * Parses what stands before the command (command: NULL; stops at the first argument) or behind it,
 * argv[0] being the program's or the command's name. Returns -1 to go on, with getopt's optind
 * where it stopped, or the exit status.
 */
int ctl_parse(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv,
              struct ctl_args *args);

/* What the table has of this name, or NULL. */
const struct ctl_command *ctl_find_command(const char *name);

/* Says what is wrong with a command's usage; command: NULL: with vfuctl's. Returns CTL_USAGE. */
int ctl_bad_usage(const struct ctl_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Prints what the shells' completion needs: tables and instances, in lines with tabs. */
void ctl_print_completion_data(void);

/*
 * Finding the daemon (instances.c)
 */

/* Where the instances' folders are. */
const char *ctl_run_dir(void);

/*
 * The names of the instances that run, sorted, to be freed by ctl_free_instances; those whose
 * control socket somebody listens at, which is found out without connecting: that would start a
 * service. Where the kernel lists none of them (another network namespace, another path), all that
 * have a socket. Returns their number, or -errno when the run directory cannot be read.
 */
int ctl_list_instances(char ***out);
void ctl_free_instances(char **names, int n);

/* The control socket of an instance. Returns 0 or -ENAMETOOLONG. */
int ctl_instance_socket(const char *name, char path[PATH_MAX]);

/* The control socket that the options name. Returns CTL_DONE, or says why not and returns that. */
int ctl_find_socket(const struct ctl *ctl, char path[PATH_MAX]);

/*
 * Calls (connection.c). Functions that return an exit status have printed the reason in one line
 * when that is not CTL_DONE.
 */

struct ctl_link; /* a connection to the daemon */

/* Connects to the daemon that the options name; ctl must outlive the link. */
int ctl_connect(const struct ctl *ctl, struct ctl_link **out);
void ctl_disconnect(struct ctl_link *link);

/*
 * Connects to the control socket of an instance, or at a path when name has a slash. Returns the
 * fd, or -1 with the reason printed.
 */
int ctl_open(const char *name);

/* For poll. */
int ctl_link_fd(const struct ctl_link *link);

/*
 * Sends a call. parameters are put, and may be NULL. flag: NULL, "more" or "upgrade", which is set
 * to true in the call.
 */
int ctl_send(struct ctl_link *link, const char *method, struct json_object *parameters,
             const char *flag);

/* The same with an fd, which is duplicated. */
int ctl_send_fd(struct ctl_link *link, const char *method, struct json_object *parameters,
                const char *flag, int fd);

/*
 * Takes a reply that has come: CTL_DONE with *out its parameters, which the caller puts, or NULL
 * when none is complete. Reads once.
 */
int ctl_take(struct ctl_link *link, struct json_object **out);

/* Waits for a reply, at most ms. *out is the caller's, to be put. */
int ctl_wait(struct ctl_link *link, int ms, struct json_object **out);

/* Waits for a reply, five seconds at most. *out is the caller's, to be put. */
int ctl_receive(struct ctl_link *link, struct json_object **out);

/*
 * After the reply to a call with "upgrade": reads what the connection carries from then on, what
 * came behind the reply first. Returns the bytes read, 0 when there is nothing now, -ENOTCONN at
 * the end, or another -errno.
 */
int ctl_read(struct ctl_link *link, void *data, size_t size);

/* A line on the terminal is not ended: should an error come, it ends it first. */
void ctl_set_line_open(struct ctl_link *link, bool open);

/*
 * The same way out: sends size bytes, waiting for the daemon to take them, and at last says that no
 * more come; replies may still. Returns 0; -EPIPE: it takes no more; or another -errno.
 */
int ctl_write(struct ctl_link *link, const void *data, size_t size);
void ctl_end_writing(struct ctl_link *link);

/* Waits until the daemon has closed the connection, five seconds at most; returns whether it has.
 */
bool ctl_wait_closed(struct ctl_link *link);

/* Sends a call and waits for its reply. */
int ctl_ask(struct ctl_link *link, const char *method, struct json_object *parameters,
            struct json_object **out);

/* The same on a connection of its own. */
int ctl_call(const struct ctl *ctl, const char *method, struct json_object *parameters,
             struct json_object **out);

/*
 * Replies (reply.c)
 */

/* Members of a reply; 0, false or "" where there is none of that type. */
struct json_object *ctl_get(struct json_object *object, const char *key);
long long ctl_int(struct json_object *object, const char *key);
bool ctl_bool(struct json_object *object, const char *key);
const char *ctl_string(struct json_object *object, const char *key);

/* How an interrupt was delivered, in words: "eventfd", "eventfd and message", "pending". */
const char *ctl_delivery(struct json_object *object);

/* The length of an array and its members; 0 where it is none. */
size_t ctl_length(struct json_object *array);
struct json_object *ctl_at(struct json_object *array, size_t i);

/* Prints an object as one line, for --json. */
void ctl_print_json(struct json_object *object);

/* As the options say: nothing, one line of JSON, or print for people. */
void ctl_print_reply(const struct ctl *ctl, struct json_object *reply,
                     void (*print)(struct json_object *reply));

#endif

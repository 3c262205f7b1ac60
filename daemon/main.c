/* SPDX-License-Identifier: BSD-3-Clause */
/* Options, start-up order, shut-down order. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>
#include <uv.h>

#include "config-build.h"
#include "config.h"
#include "daemon.h"
#include "device/device.h"
#include "instance.h"
#include "log.h"
#include "lspci.h"
#include "requests.h"
#include "service/service.h"

#define EXIT_USAGE       2
#define EXIT_DESCRIPTION EX_CONFIG

enum action {
    ACTION_RUN,
    ACTION_CHECK,
    ACTION_DUMP,
    ACTION_CAPABILITIES,
    ACTION_VERSION,
    ACTION_HELP
};

struct options {
    enum action action;
    struct daemon_options daemon;
    const char *instance;
    struct instance place;
    char hold[512];    /* why what was left cannot be used */
    bool wants_folder; /* its sockets are to be made there */
};

static const char usage[] =
    "Usage: vfio-userd (--instance NAME | --socket-path PATH | --fd N) [OPTION]...\n"
    "Serves an emulated PCI device to a virtual machine over vfio-user, in the foreground.\n"
    "\n"
    "  --instance NAME        serve " RUN_DIR "/NAME/device.sock and control.sock, or the\n"
    "                         sockets that the service manager passes; the description is\n"
    "                         " CONFIG_DIR "/NAME.json when there is one\n"
    "  --socket-path PATH     make the vfio-user socket at PATH\n"
    "  --fd N                 use file descriptor N: a listening or a connected UNIX socket\n"
    "  --control-path PATH    make the control socket, for vfuctl, at PATH\n"
    "  --config FILE          the device's description; without it, the default device\n"
    "  --discard-state        drop what the process before has left, and begin anew\n"
    "  --log-level LEVEL      err, warning, info (the default) or debug\n"
    "  --check-config         check the description and exit\n"
    "  --dump-config          print the configuration space, for lspci -F, and exit\n"
    "  --print-capabilities   print what this program can do, as JSON, and exit\n"
    "  --version              print the version and what it was built with, and exit\n"
    "  --help                 print this, and exit\n"
    "\n"
    "SIGTERM ends it cleanly, SIGHUP has it read its description again.\n"
    "Exit status: 0 done, 1 failed, 2 usage, 78 the description is not valid.\n";

enum option_code {
    OPT_INSTANCE = 256,
    OPT_SOCKET,
    OPT_FD,
    OPT_CONTROL,
    OPT_CONFIG,
    OPT_DISCARD,
    OPT_LOG,
    OPT_CHECK,
    OPT_DUMP,
    OPT_CAPABILITIES,
    OPT_VERSION,
    OPT_HELP
};

static const struct option long_options[] = {
    { "instance", required_argument, NULL, OPT_INSTANCE },
    { "socket-path", required_argument, NULL, OPT_SOCKET },
    { "fd", required_argument, NULL, OPT_FD },
    { "control-path", required_argument, NULL, OPT_CONTROL },
    { "config", required_argument, NULL, OPT_CONFIG },
    { "discard-state", no_argument, NULL, OPT_DISCARD },
    { "log-level", required_argument, NULL, OPT_LOG },
    { "check-config", no_argument, NULL, OPT_CHECK },
    { "dump-config", no_argument, NULL, OPT_DUMP },
    { "print-capabilities", no_argument, NULL, OPT_CAPABILITIES },
    { "version", no_argument, NULL, OPT_VERSION },
    { "help", no_argument, NULL, OPT_HELP },
    { NULL, 0, NULL, 0 },
};

static int bad_usage(const char *text, const char *value)
{
    fprintf(stderr, "vfio-userd: %s%s\nTry 'vfio-userd --help'.\n", text, value);
    return -EINVAL;
}

static int parse_fd(const char *text, int *out)
{
    char *end;
    long fd = strtol(text, &end, 10);

    if (*text == '\0' || *end != '\0' || fd < 0 || fd > INT32_MAX)
        return bad_usage("--fd takes a file descriptor's number, not ", text);
    *out = (int)fd;
    return 0;
}

static int parse_option(int code, struct options *o)
{
    enum log_level level;

    switch (code) {
    case OPT_INSTANCE:
        o->instance = optarg;
        return 0;
    case OPT_SOCKET:
        o->daemon.socket_path = optarg;
        return 0;
    case OPT_FD:
        return parse_fd(optarg, &o->daemon.fd);
    case OPT_CONTROL:
        o->daemon.control_path = optarg;
        return 0;
    case OPT_CONFIG:
        o->daemon.config = optarg;
        return 0;
    case OPT_DISCARD:
        o->daemon.discard_state = true;
        return 0;
    case OPT_LOG:
        if (log_level_parse(optarg, &level) != 0)
            return bad_usage("--log-level takes err, warning, info or debug, not ", optarg);
        log_set_level(level);
        o->daemon.log_level_given = true;
        return 0;
    case OPT_CHECK:
        o->action = ACTION_CHECK;
        return 0;
    case OPT_DUMP:
        o->action = ACTION_DUMP;
        return 0;
    case OPT_CAPABILITIES:
        o->action = ACTION_CAPABILITIES;
        return 0;
    case OPT_VERSION:
        o->action = ACTION_VERSION;
        return 0;
    case OPT_HELP:
        o->action = ACTION_HELP;
        return 0;
    default: /* getopt has said what is wrong */
        return bad_usage("unknown or incomplete option", "");
    }
}

static int parse_options(int argc, char **argv, struct options *o)
{
    struct stat st;
    int code;

    *o = (struct options) { .action = ACTION_RUN, .daemon = { .fd = -1, .control_fd = -1 } };
    while ((code = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        int err = parse_option(code, o);

        if (err != 0)
            return err;
    }
    if (optind < argc)
        return bad_usage("takes options only, not ", argv[optind]);
    if (o->instance != NULL && instance_init(&o->place, o->instance) != 0)
        return bad_usage("--instance takes a name of at most 63 letters, digits, _, - and ., not ",
                         o->instance);
    if (o->instance != NULL && o->daemon.config == NULL) {
        o->daemon.config = o->place.config;
        o->daemon.config_optional = true;
    }
    if (o->action != ACTION_RUN)
        return 0;
    if (o->instance == NULL)
        instance_name_from_path(o->daemon.socket_path, o->place.name);
    o->daemon.name = o->place.name;
    if (o->daemon.socket_path != NULL && o->daemon.fd >= 0)
        return bad_usage("--socket-path and --fd exclude each other", "");
    if (o->daemon.fd >= 0 && (fstat(o->daemon.fd, &st) != 0 || !S_ISSOCK(st.st_mode)))
        return bad_usage("--fd: this file descriptor is no open socket", "");
    return 0;
}

/* Section "Backend Program Conventions": 0, 1 and 2 must exist; the first fds opened fill gaps. */
static int ensure_standard_fds(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

static int64_t no_time(void *opaque)
{
    (void)opaque;
    return 0;
}

static void no_wake(void *opaque, int64_t deadline)
{
    (void)opaque;
    (void)deadline;
}

/* The device is made, as it would be after power-on, and its configuration space read. */
static int dump_config(const struct device_description *d)
{
    const struct device_host host = { .now = no_time, .wake_at = no_wake };
    uint8_t config[PCI_SPACE_EXP_SIZE];
    struct pci_error error;
    struct device *dev;
    int err = device_new(d, &host, &dev, &error);

    if (err != 0)
        return err;
    device_read(dev, VFIO_PCI_CONFIG_REGION_INDEX, 0, config, (uint32_t)device_config_size(dev));
    lspci_print(stdout, "vfio-userd", config, device_config_size(dev));
    device_free(dev);
    return 0;
}

static void print_capabilities(void)
{
    static const char *const features[] = { "config", "control", "fd", "instance", "socket-path" };
    struct json_object *root = json_object_new_object();
    struct json_object *list = json_object_new_array();

    json_object_object_add(root, "type", json_object_new_string("pci"));
    json_object_object_add(root, "model", json_object_new_string("timer"));
    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
        json_object_array_add(list, json_object_new_string(features[i]));
    json_object_object_add(root, "features", list);
    puts(json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY));
    json_object_put(root);
}

static void print_version(void)
{
    printf("vfio-userd %s\n", PACKAGE_VERSION);
    printf("libuv %s, json-c %s, libsystemd %s\n", uv_version_string(), json_c_version(),
           service_available() ? "yes" : "no");
}

static int make_folder(const struct options *o)
{
    int err = instance_make_folder(&o->place);

    if (err != 0)
        log_err("daemon", "%s: %s", o->place.folder, strerror(-err));
    return err;
}

/* Where each socket comes from: the option, the service manager, or the instance's folder. */
static int find_sockets(struct options *o)
{
    int device = service_take_fd(o->daemon.service, SERVICE_FD_DEVICE);
    int control = service_take_fd(o->daemon.service, SERVICE_FD_CONTROL);

    if ((device >= 0 && (o->daemon.socket_path != NULL || o->daemon.fd >= 0)) ||
        (control >= 0 && o->daemon.control_path != NULL))
        return bad_usage("a socket is given by option, and the service manager passes it too", "");
    if (device >= 0) {
        o->daemon.fd = device;
    } else if (o->daemon.socket_path == NULL && o->daemon.fd < 0) {
        if (o->instance == NULL)
            return bad_usage("one of --instance, --socket-path and --fd is needed", "");
        o->daemon.socket_path = o->place.device_socket;
        o->wants_folder = true;
    }
    if (control >= 0) {
        o->daemon.control_fd = control;
    } else if (o->daemon.control_path == NULL && o->instance != NULL) {
        o->daemon.control_path = o->place.control_socket;
        o->wants_folder = true;
    }
    return 0;
}

static int run(struct options *o)
{
    struct daemon *d;

    if (find_sockets(o) != 0)
        return EXIT_USAGE;
    if ((o->wants_folder && make_folder(o) != 0) || daemon_new(&o->daemon, &d) != 0)
        return EXIT_FAILURE;
    daemon_run(d);
    daemon_free(d);
    return EXIT_SUCCESS;
}

/*
 * Whether a client waits for this process, which it would lose if that did not start: rather none
 * is served until the description is mended.
 */
static bool may_hold(const struct options *o)
{
    return o->action == ACTION_RUN && !o->daemon.discard_state &&
           service_store_max(o->daemon.service) > 0 &&
           service_has_stored(o->daemon.service, "client");
}

/* Returns 0 or -errno, with the reason logged and told. */
static int load_description(struct options *o, struct device_description *out)
{
    struct config_error error;
    const char *warning;
    int err =
        config_load(o->daemon.config,
                    o->daemon.config_optional ? CONFIG_OPTIONAL | CONFIG_REGULAR : 0, out, &error);

    if (err < 0) {
        log_event(LOG_EVENT_DESCRIPTION_REFUSED, LOG_FIELDS(LOG_TEXT("REASON", error.text)),
                  LOG_LEVEL_ERR, "config", "%s", error.text);
        if (may_hold(o)) {
            snprintf(o->hold, sizeof(o->hold), "%s", error.text);
            o->daemon.hold = o->hold;
            o->daemon.description = out;
            description_default(out);
            return 0;
        }
        if (o->daemon.service != NULL)
            service_failed(o->daemon.service, error.text, -err);
        return err;
    }
    o->daemon.described = err == 0;
    o->daemon.description = out;
    requests_set_log_level(&o->daemon);
    warning = config_warning(out);
    if (warning != NULL)
        log_warning("config", "%s: %s", o->daemon.config, warning);
    return 0;
}

/* Does what concerns a device; returns an exit status. */
static int act_on_device(struct options *o)
{
    struct device_description description;
    int status = EXIT_SUCCESS;

    if (load_description(o, &description) != 0)
        return EXIT_DESCRIPTION;
    if (o->action == ACTION_RUN)
        status = run(o);
    else if (o->action == ACTION_DUMP)
        status = dump_config(&description) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    else if (o->daemon.described)
        printf("%s: valid\n", o->daemon.config);
    else if (o->daemon.config != NULL)
        printf("there is no %s: the default device, which is valid\n", o->daemon.config);
    else
        puts("the default device: valid");
    description_fini(&description);
    return status;
}

static int act(struct options *o)
{
    int status;

    switch (o->action) {
    case ACTION_HELP:
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    case ACTION_VERSION:
        print_version();
        return EXIT_SUCCESS;
    case ACTION_CAPABILITIES:
        print_capabilities();
        return EXIT_SUCCESS;
    case ACTION_RUN:
        if (service_new(o->daemon.name, &o->daemon.service) != 0)
            return EXIT_USAGE; /* the next start would end the same way */
        status = act_on_device(o);
        service_free(o->daemon.service);
        return status;
    default:
        return act_on_device(o);
    }
}

int main(int argc, char **argv)
{
    struct options options;
    int status;

    if (ensure_standard_fds() != 0)
        return EXIT_FAILURE;
    signal(SIGHUP, SIG_IGN); /* too early to mean anything */
    if (parse_options(argc, argv, &options) != 0)
        return EXIT_USAGE;
    status = act(&options);
    return fflush(stdout) == 0 ? status : EXIT_FAILURE;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* pcluster install-service: a unit of the user's service manager that runs a cluster. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/options.h"
#include "lib/mem.h"
#include "lib/profile.h"
#include "parent/parent.h"

/* With what `pcluster.service` of the tree says, see there why. */
static const char unit_text[] = "# Written by 'pcluster install-service'.\n"
                                "[Unit]\n"
                                "Description=Python engines for parallel computing, profile %s\n"
                                "Documentation=man:pcluster(1) man:pcluster.conf(5)\n"
                                "\n"
                                "[Service]\n"
                                "Type=notify\n"
                                "ExecStart=\"%s\" start %s --daemonize=no%s\n"
                                "%s"
                                "ExecReload=/bin/sh -c \"kill -HUP $MAINPID\"\n"
                                "TimeoutStartSec=30min\n"
                                "TimeoutStopSec=30\n"
                                "KillMode=mixed\n"
                                "Restart=on-failure\n"
                                "RestartSec=2\n"
                                "RestartPreventExitStatus=2\n"
                                "WatchdogSec=30\n"
                                "Delegate=cpu memory\n"
                                "\n"
                                "[Install]\n"
                                "WantedBy=default.target\n";

/* ---- the unit --------------------------------------------------------------------------- */

/* '%' begins a specifier in a unit, '"' and '\\' end a quoted word. */
static char *quoted(const char *text)
{
    char *out = pc_xcalloc(2 * strlen(text) + 1, 1);
    for (char *to = out; *text; text++) {
        if (*text == '%')
            *to++ = '%';
        if (*text == '"' || *text == '\\')
            *to++ = '\\';
        *to++ = *text;
    }
    return out;
}

/* What this shell has, and the manager does not. */
static char *environment_lines(void)
{
    static const char *const names[] = {"PCLUSTER_DIR", "VIRTUAL_ENV"};
    char *lines = pc_xstrdup("");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = getenv(names[i]);
        if (!value || !*value)
            continue;
        char *safe = quoted(value);
        char *more = pc_xasprintf("%sEnvironment=\"%s=%s\"\n", lines, names[i], safe);
        free(safe);
        free(lines);
        lines = more;
    }
    return lines;
}

/* "--profile lab", or the folder when that is where it is. */
static char *profile_words(const struct pc_profile *profile)
{
    if (!profile->is_named_by_dir)
        return pc_xasprintf("--profile %s", profile->name);
    char *safe = quoted(profile->dir);
    char *words = pc_xasprintf("--profile-dir \"%s\"", safe);
    free(safe);
    return words;
}

static char *make_unit(const struct pc_profile *profile, long count, struct pc_err *err)
{
    char exe[4096];
    ssize_t size = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    if (size < 0) {
        pc_err_sys(err, "can't tell where this program is");
        return NULL;
    }
    exe[size] = '\0';
    char *engines = count ? pc_xasprintf(" -n %ld", count) : pc_xstrdup("");
    char *environment = environment_lines();
    char *safe_exe = quoted(exe);
    char *words = profile_words(profile);
    char *unit = pc_xasprintf(unit_text, profile->name, safe_exe, words, engines, environment);
    free(words);
    free(safe_exe);
    free(environment);
    free(engines);
    return unit;
}

/* ---- its place -------------------------------------------------------------------------- */

static int make_folders(char *path, struct pc_err *err)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int status = mkdir(path, 0755);
        if (status < 0 && errno != EEXIST)
            pc_err_sys(err, "can't make the folder '%s'", path);
        else
            status = 0;
        *slash = '/';
        if (status < 0)
            return -1;
    }
    return 0;
}

/* $XDG_CONFIG_HOME or ~/.config, systemd/user below it. */
static char *unit_path(const char *name, struct pc_err *err)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (config && config[0] == '/')
        return pc_xasprintf("%s/systemd/user/%s", config, name);
    if (home && home[0] == '/')
        return pc_xasprintf("%s/.config/systemd/user/%s", home, name);
    pc_err_set(err, PC_E_INVALID, "there is no home folder to write '%s' to: set HOME", name);
    return NULL;
}

/* Whole or not at all. */
static int write_unit(char *path, const char *text, struct pc_err *err)
{
    if (make_folders(path, err) < 0)
        return -1;
    char *next = pc_xasprintf("%s.new", path);
    FILE *file = fopen(next, "we");
    bool is_written = file && fputs(text, file) >= 0;
    if (file && fclose(file) != 0)
        is_written = false;
    int status = is_written && rename(next, path) == 0 ? 0 : -1;
    if (status < 0) {
        pc_err_sys(err, "can't write '%s'", path);
        unlink(next);
    }
    free(next);
    return status;
}

/* ---- the manager ------------------------------------------------------------------------ */

/* Its exit code; -1 when there is no such program. Quiet when `null_fd` takes what it says. */
static int systemctl(const char *verb, const char *name, int null_fd)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (null_fd >= 0) {
            dup2(null_fd, STDOUT_FILENO);
            dup2(null_fd, STDERR_FILENO);
        }
        execlp("systemctl", "systemctl", "--user", verb, name, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    int code = pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return code == 127 ? -1 : code;
}

/* Where no manager of this user answers there is nothing to enable it in. */
static int enable(const char *name)
{
    int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    int status = systemctl("daemon-reload", NULL, null_fd);
    if (null_fd >= 0)
        close(null_fd);
    if (status != 0) {
        printf("no service manager of this user answers here; where it does, say:\n"
               "    systemctl --user enable --now %s\n",
               name);
        return CMD_OK;
    }
    if (systemctl("enable", name, -1) != 0) {
        command_error("install-service", "'systemctl --user enable %s' failed", name);
        return CMD_FAILED;
    }
    printf("enabled; 'systemctl --user start %s' starts it now, and 'loginctl enable-linger' lets "
           "it\nrun while you are not logged in\n",
           name);
    return CMD_OK;
}

static int install(const struct pc_profile *profile, long count, bool no_enable, struct pc_err *err)
{
    bool is_default = !profile->is_named_by_dir && strcmp(profile->name, "default") == 0;
    char *name = pc_xasprintf("pcluster%s%s.service", is_default ? "" : "-",
                              is_default ? "" : profile->name);
    char *path = unit_path(name, err);
    char *text = path ? make_unit(profile, count, err) : NULL;
    int exit_code = -1;
    if (text && write_unit(path, text, err) == 0) {
        printf("wrote %s\n", path);
        exit_code = no_enable ? CMD_OK : enable(name);
    }
    free(text);
    free(path);
    free(name);
    return exit_code;
}

int cmd_install_service(int argc, char **argv)
{
    const char *profile_name = NULL, *profile_dir = NULL;
    long count = 0;
    bool for_user = true, no_enable = false;
    const struct option_row rows[] = {
        {'n', "engines", OPTION_NUMBER, &count, "N",
         "number of engines (default: as pcluster.conf says)", .min = 1, .max = PARENT_ENGINES_MAX},
        {0, "profile", OPTION_TEXT, &profile_name, "NAME", "profile (default: default)"},
        {0, "profile-dir", OPTION_TEXT, &profile_dir, "PATH",
         "folder of the profile, when it is elsewhere"},
        {0, "user", OPTION_SET, &for_user, NULL,
         "for the service manager of this user (the default)"},
        {0, "no-enable", OPTION_SET, &no_enable, NULL, "only write the unit"},
        {0},
    };
    const struct option_page page = {
        .command = "install-service",
        .operands = "",
        .about =
            "Writes a unit that runs 'pcluster start' under the service manager of this user "
            "(systemd),\nand enables it. For all users of a machine there is pcluster@.service.",
        .rows = rows,
    };
    struct pc_profile profile;
    struct pc_err err;
    int exit_code;
    if (options_read(&page, argc, argv, &exit_code) < 0)
        return exit_code;
    if (!for_user) {
        command_error("install-service", "only units of a user are written: for the whole system "
                                         "enable pcluster@PROFILE.service");
        return CMD_USAGE;
    }
    if (pc_profile_resolve(&profile, profile_name, profile_dir, &err) < 0 ||
        (exit_code = install(&profile, count, no_enable, &err)) < 0) {
        command_error("install-service", "%s", err.text);
        return CMD_FAILED;
    }
    return exit_code;
}

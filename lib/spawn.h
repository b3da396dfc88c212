/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Starting a role: fork and exec of this executable with inherited sockets on fixed descriptors.
 * Only between libuv-free moments of the parent's loop turn: fork is followed by exec at once.
 */
#ifndef PC_LIB_SPAWN_H
#define PC_LIB_SPAWN_H

#include <sys/types.h>

#include "lib/err.h"

#define PC_ROLE_FD      3 /* the role's end of its socketpair to the parent */
#define PC_ROLE_FD_MORE 4 /* first of the further descriptors of a role */
#define PC_ROLE_FDS_MAX 8

/*
 * Runs `<this executable> --role <role>` with fds[0] on descriptor 3, fds[1] on 4 and so on (-1
 * leaves a number closed); descriptor 0 is /dev/null, 1 and 2 are inherited, everything else is
 * closed there. The child leads a session of its own, so that Ctrl-C in a terminal reaches only
 * the parent; it has default signal dispositions and an empty mask. When the thread that called
 * this ends it gets `death_signal` (PR_SET_PDEATHSIG): SIGKILL for a role that has nothing to
 * clean up. The descriptors in fds stay open here. An exec that fails is reported here. Returns
 * the pid, or -1.
 */
pid_t pc_spawn_role(const char *role, int death_signal, const int *fds, int fd_count,
                    struct pc_err *err);

/* A peer that is gone and a file that may not grow are errors of the call, not deaths: for every
 * role that runs no user code. */
void pc_ignore_signals_of_files(void);

/* A pair of connected stream sockets, both close-on-exec. */
int pc_socketpair(int fds[2], struct pc_err *err);
/* Closes every descriptor from `first` up that is not in keep[] (keep may be NULL). */
void pc_close_from(int first, const int *keep, int keep_count);
/* Puts /dev/null in place of those of descriptors 0, 1 and 2 that are closed: a socket that got
 * such a number would receive what is meant for the terminal. */
void pc_open_standard(void);
/* What ps shows: "pcluster: hub". Call pc_title_init in main before anything else uses argv. */
void pc_title_init(int argc, char **argv);
void pc_title_set(const char *title);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* The options that say what the hub remembers, of every command that starts one. */
#ifndef PC_CMD_STORE_H
#define PC_CMD_STORE_H

#include "cmd/options.h"
#include "parent/parent.h"

#define STORE_DEFAULTS                                                                             \
    {                                                                                              \
        .kind = "memory", .tasks = 100000, .bytes = 256L << 20, .keep_bytes = 64L << 10            \
    }

#define STORE_ROWS(store)                                                                          \
    {0,                                                                                            \
     "store",                                                                                      \
     OPTION_CHOICE,                                                                                \
     &(store).kind,                                                                                \
     "KIND",                                                                                       \
     "where tasks are remembered: memory, sqlite, none (default: memory)",                         \
     .choices = "memory sqlite none"},                                                             \
        {0,                                                                                        \
         "store-tasks",                                                                            \
         OPTION_NUMBER,                                                                            \
         &(store).tasks,                                                                           \
         "N",                                                                                      \
         "ended tasks that are remembered (default: 100000)",                                      \
         .min = 0,                                                                                 \
         .max = 1000000000},                                                                       \
        {0,           "store-bytes",                                                               \
         OPTION_SIZE, &(store).bytes,                                                              \
         "SIZE",      "bytes of what is remembered (default: 256M)",                               \
         .min = 0,    .max = OPTIONS_BYTES_MAX},                                                   \
        {0,                                                                                        \
         "store-age",                                                                              \
         OPTION_NUMBER,                                                                            \
         &(store).age_s,                                                                           \
         "S",                                                                                      \
         "seconds after their end that tasks are remembered; 0: no limit (default: 0)",            \
         .min = 0,                                                                                 \
         .max = 1000000000},                                                                       \
    {                                                                                              \
        0, "keep-bytes", OPTION_SIZE, &(store).keep_bytes, "SIZE",                                 \
            "requests and results up to this size are remembered (default: 64K)",                  \
            .min = 0, .max = OPTIONS_BYTES_MAX                                                     \
    }

#endif

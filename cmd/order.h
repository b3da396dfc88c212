/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An order about engines of a running cluster: it is given, and seen to be carried out. What
 * `pcluster engines` changes goes through here.
 */
#ifndef PC_CMD_ORDER_H
#define PC_CMD_ORDER_H

#include "cmd/ask.h"
#include "cmd/options.h"

#define ORDER_GRACE_S 2

struct order {
    const char *command; /* "engines stop" */
    const char *query;   /* its name for the controller */
    const char *done;    /* what then happened to the chosen engines: "stopped"; NULL: none are */
    const char *targets; /* which ones are chosen */
    bool will_end;       /* they go away */
    bool will_replace;   /* and as many come */
    size_t fresh_count;  /* so many come without any going */
    struct ask_where where;
    bool never_waits, as_json;
    long grace_s;
};

extern const struct option_row order_rows[]; /* --no-wait; the base is a struct order */

/* The groups of options that every order has. */
#define ORDER_GROUPS(order)                                                                        \
    {order_rows, &(order)}, {ask_name_rows, &(order).where}, {ask_file_rows, &(order).where},      \
    {                                                                                              \
        option_json_rows, &(order).as_json                                                         \
    }

/* Gives the order with the members of `details`, which it takes, waits, and says what was done.
 * Returns the exit code. */
int order_give(const struct order *order, pc_json *details);

#endif

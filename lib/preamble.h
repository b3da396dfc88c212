/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The first 32 bytes of a connection, in both directions:
 *
 *   "PCLUSTER", version (2), suite or, from the acceptor, enum pc_answer (1), 0 (5),
 *   instance id of the cluster (16)
 *
 * The initiator's preamble is the prologue of the handshake, so nobody can change it unnoticed.
 */
#ifndef PC_LIB_PREAMBLE_H
#define PC_LIB_PREAMBLE_H

#include <stdint.h>

#define PC_INSTANCE_SIZE 16
#define PC_PREAMBLE_SIZE 32

/* What an acceptor answers in its preamble. Anything but OK is followed by a close. */
enum pc_answer {
    PC_ANSWER_OK = 0,
    PC_ANSWER_VERSION = 1, /* another protocol version */
    PC_ANSWER_CLUSTER = 2, /* another cluster instance */
    PC_ANSWER_SUITE = 3,   /* this suite can't be used here */
    PC_ANSWER_KEY = 4,     /* wrong or unknown key */
    PC_ANSWER_BUSY = 5,    /* no descriptor or no place left */
};

struct pc_preamble {
    uint16_t version;
    uint8_t suite_or_answer;
    uint8_t instance[PC_INSTANCE_SIZE];
};

void pc_preamble_encode(const struct pc_preamble *preamble, uint8_t out[PC_PREAMBLE_SIZE]);
/* -1: not a preamble of this program (other magic, reserved bytes not zero). */
int pc_preamble_decode(const uint8_t in[PC_PREAMBLE_SIZE], struct pc_preamble *preamble);

#endif

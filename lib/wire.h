/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes in, messages out, and back. No descriptor: `sock` moves the bytes. This is what the
 * fuzzers drive.
 *
 * A connection begins with a preamble (lib/preamble.h) in both directions; on TCP the Noise
 * messages follow it directly, and from then on every byte is in records: a length of 2 bytes
 * (little-endian), then up to 65,535 bytes of ciphertext holding a piece of the stream of frames.
 * On the Unix socket the frames follow the preamble as they are.
 */
#ifndef PC_LIB_WIRE_H
#define PC_LIB_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/lifeline.h"
#include "lib/msg.h"
#include "lib/noise.h"

#define PC_RECORD_PLAIN_MAX 65519

/* Something queued for sending: flat bytes, or a part by reference. */
struct pc_wire_segment;

struct pc_wire {
    bool is_encrypted;
    uint32_t senders; /* enum pc_sender bits that the other side may be */
    struct pc_cipher *send_cipher, *receive_cipher; /* owned; NULL when plain */
    struct pc_lifeline *lifeline; /* of the session whose connection it is, if it can be resumed */

    /* receiving */
    uint8_t *in; /* bytes read and not yet consumed: in[in_start .. in_end) */
    size_t in_start, in_end, in_capacity;
    bool wants_larger; /* the last read filled it */
    /* What is left of one record, opened in place, before in_start. */
    size_t plain_start, plain_end;
    uint8_t head[PC_FRAME_SIZE];
    size_t head_have;
    uint8_t *sizes; /* part sizes of the frame being read, allocated when there are any */
    size_t sizes_have;
    struct pc_frame frame;
    struct pc_msg *partial; /* header known, filling */
    int fill_part;          /* -1: the body */
    uint64_t fill_have;

    /* sending */
    struct pc_wire_segment *out_first, *out_last, *out_spare;
    uint64_t out_bytes;   /* queued plain bytes, not yet handed to the system */
    struct pc_buf sealed; /* encrypted records ready to go, when encrypted */
    size_t sealed_done;
};

void pc_wire_init(struct pc_wire *wire, uint32_t senders);
/* From here on everything is encrypted: takes copies of the ciphers and wipes the arguments. */
int pc_wire_encrypt(struct pc_wire *wire, struct pc_cipher *send, struct pc_cipher *receive);
void pc_wire_fini(struct pc_wire *wire);

/* Receiving: write up to *size bytes at the returned place, say how many with pc_wire_received,
 * then take messages until NULL. When a large part is being read in plain, the place is that
 * part's own memory. NULL: out of memory. */
uint8_t *pc_wire_space(struct pc_wire *wire, size_t *size);
void pc_wire_received(struct pc_wire *wire, size_t size);
/* The next whole message (the caller owns the reference), or NULL: with err->code PC_OK more bytes
 * are needed, with anything else the peer broke the rules and must be dropped. */
struct pc_msg *pc_wire_next(struct pc_wire *wire, struct pc_err *err);
/* True when a message has been begun but is not whole, or whole ones wait to be taken. */
bool pc_wire_is_within(const struct pc_wire *wire);

/* Sending: queue a message (keeps a reference while parts are sent by reference; small messages
 * are copied at once). -1: out of memory. */
int pc_wire_send(struct pc_wire *wire, struct pc_msg *msg);
/* The same without a message of its own: a head and a body with the parts of `owner` (NULL when
 * head->part_count is 0). */
int pc_wire_send_parts(struct pc_wire *wire, const struct pc_frame *head, const void *body,
                       struct pc_msg *owner);
/* On a new connection of a session: queues again what the lifeline keeps. In place of what could
 * not be kept goes an acknowledgement of nothing. -1: out of memory. */
int pc_wire_resume(struct pc_wire *wire);
/* What to write now: fills up to `max` vectors, returns how many; 0 = nothing queued, -1 = out of
 * memory or the cipher is used up. */
int pc_wire_gather(struct pc_wire *wire, struct iovec *vectors, int max);
/* `size` bytes of those were written. */
void pc_wire_sent(struct pc_wire *wire, size_t size);
/* Copies what is queued by reference, so that borrowed memory is no longer needed. -1: out of
 * memory, nothing changed. */
int pc_wire_settle(struct pc_wire *wire);
/* Forgets what is queued and not sealed. */
void pc_wire_drop_queue(struct pc_wire *wire);
/* Gives back the memory of buffers that are empty now. For connections that have been idle. */
void pc_wire_trim(struct pc_wire *wire);
/* Bytes queued and not written. */
uint64_t pc_wire_queued(const struct pc_wire *wire);

#endif

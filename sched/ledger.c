/* SPDX-License-Identifier: BSD-3-Clause */
#include "sched/ledger.h"

#include <stdlib.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "sched/state.h"

/* So much is under way to the hub at most; the rest waits here, where it can still be changed. */
#define UNDER_WAY_BYTES (8u << 20)
/* An entry costs that much besides its message. */
#define ENTRY_BYTES 128

static void entry_free(struct ledger *ledger, struct entry *entry)
{
    ledger->bytes -= entry->bytes;
    pc_msg_unref(entry->msg);
    free(entry->kept);
    free(entry);
}

/* ---- a hub that stays away -------------------------------------------------------------- */

static void replace(struct ledger *ledger, struct entry *entry, const void *body, size_t size)
{
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_RECORDS, body, size);
    if (!msg)
        pc_fatal(1, "out of memory");
    pc_msg_unref(entry->msg);
    entry->msg = msg;
    ledger->bytes -= entry->bytes;
    entry->bytes = ENTRY_BYTES + size;
    ledger->bytes += entry->bytes;
}

/* Only the heads of its records stay, and what they say of the submission. */
static void make_bare(struct ledger *ledger, struct entry *entry)
{
    struct pc_reader reader;
    struct pc_record record;
    struct pc_buf body;
    pc_buf_init(&body, 0);
    pc_reader_init(&reader, entry->msg->body, entry->msg->head.body_size);
    while (reader.left && pc_record_decode(&reader, &record) == 0) {
        unsigned parts = PC_RECORD_INSIDE | PC_RECORD_OUTSIDE | PC_RECORD_SAME;
        ledger->lost_bodies += (record.flags & parts) != 0;
        record.flags &= (uint8_t)~parts;
        record.part_count = 0;
        if (pc_record_encode(&body, &record, NULL))
            pc_fatal(1, "out of memory");
    }
    entry->is_bare = true;
    replace(ledger, entry, body.data, body.size);
    pc_buf_fini(&body);
}

static void make_empty(struct ledger *ledger, struct entry *entry)
{
    struct pc_reader reader;
    struct pc_record record;
    pc_reader_init(&reader, entry->msg->body, entry->msg->head.body_size);
    while (reader.left && pc_record_decode(&reader, &record) == 0)
        ledger->lost_records++;
    entry->is_empty = true;
    replace(ledger, entry, NULL, 0);
}

static bool may_lose(const struct entry *entry)
{
    return entry->number && entry->msg->head.type == PC_MSG_RECORDS && !entry->kept;
}

static void make_room(struct sched *s)
{
    struct ledger *ledger = &s->ledger;
    bool had_lost = ledger->lost_bodies || ledger->lost_records;
    for (; ledger->bytes > ledger->limit && ledger->to_bare;
         ledger->to_bare = ledger->to_bare->next)
        if (may_lose(ledger->to_bare) && !ledger->to_bare->is_bare)
            make_bare(ledger, ledger->to_bare);
    for (; ledger->bytes > ledger->limit && ledger->to_empty;
         ledger->to_empty = ledger->to_empty->next)
        if (may_lose(ledger->to_empty) && !ledger->to_empty->is_empty)
            make_empty(ledger, ledger->to_empty);
    if (!had_lost && (ledger->lost_bodies || ledger->lost_records))
        pc_warn("the hub takes no records: those that wait for it have reached %llu MB, and the "
                "oldest are dropped",
                (unsigned long long)(ledger->limit >> 20));
}

/* ---- sending ---------------------------------------------------------------------------- */

/* Sends what may be under way. */
static void advance(struct sched *s)
{
    struct ledger *ledger = &s->ledger;
    if (!ledger->is_greeted || !s->hub.is_open)
        return;
    while (ledger->unsent && ledger->sent_bytes < UNDER_WAY_BYTES) {
        struct entry *entry = ledger->unsent;
        ledger->unsent = entry->next;
        ledger->sent_bytes += entry->bytes;
        if (ledger->to_bare == entry)
            ledger->to_bare = entry->next;
        if (ledger->to_empty == entry)
            ledger->to_empty = entry->next;
        pc_conn_send(&s->hub.conn, pc_msg_ref(entry->msg));
    }
}

static struct entry *append(struct sched *s, struct pc_msg *msg, uint64_t number)
{
    struct ledger *ledger = &s->ledger;
    struct entry *entry = pc_xcalloc(1, sizeof(*entry));
    *entry = (struct entry){.msg = msg,
                            .number = number,
                            .bytes = ENTRY_BYTES + msg->head.body_size + msg->parts_bytes};
    if (ledger->last)
        ledger->last->next = entry;
    else
        ledger->first = entry;
    ledger->last = entry;
    if (!ledger->unsent)
        ledger->unsent = entry;
    if (!ledger->to_bare)
        ledger->to_bare = entry;
    if (!ledger->to_empty)
        ledger->to_empty = entry;
    ledger->bytes += entry->bytes;
    return entry;
}

void ledger_tell(struct sched *s, struct pc_msg *msg)
{
    append(s, msg, ++s->ledger.told);
    advance(s);
    make_room(s);
}

void ledger_tell_kept(struct sched *s, struct pc_msg *msg, struct pc_buf *kept)
{
    struct entry *entry = append(s, msg, ++s->ledger.told);
    entry->kept = kept->data;
    entry->kept_size = kept->size;
    pc_buf_init(kept, 0);
    advance(s);
}

void ledger_ask(struct sched *s, struct pc_msg *msg)
{
    append(s, msg, 0);
    advance(s);
}

static void results_are_stored(struct sched *s, const struct entry *entry)
{
    struct pc_reader reader;
    pc_reader_init(&reader, entry->kept, entry->kept_size);
    while (reader.left) {
        uint64_t session = pc_get_u64(&reader);
        client_stored(s, session, pc_get_u64(&reader));
    }
}

/* Questions leave with what came before them. */
static void drop_recorded(struct sched *s)
{
    struct ledger *ledger = &s->ledger;
    struct entry *entry;
    while ((entry = ledger->first) && entry != ledger->unsent &&
           entry->number <= ledger->recorded) {
        ledger->first = entry->next;
        if (!ledger->first)
            ledger->last = NULL;
        ledger->sent_bytes -= entry->bytes;
        results_are_stored(s, entry);
        entry_free(ledger, entry);
    }
}

/* The first word of a hub: what it remembers. That can be less than another hub said before when
 * its journal was lost, and more when it has known another scheduler. */
static void greet(struct sched *s, uint64_t number)
{
    struct ledger *ledger = &s->ledger;
    if (ledger->was_greeted && number < ledger->base + ledger->recorded)
        pc_warn("the hub has forgotten what it had recorded");
    if (!ledger->was_greeted || number < ledger->base + ledger->recorded ||
        number > ledger->base + ledger->told)
        ledger->base = number - ledger->recorded;
    ledger->is_greeted = ledger->was_greeted = true;
    ledger->recorded = number - ledger->base;
    /* It may have taken in more than it could say: that was sent, and need not be again. */
    while (ledger->unsent && ledger->unsent->number <= ledger->recorded && ledger->unsent->number) {
        ledger->sent_bytes += ledger->unsent->bytes;
        ledger->unsent = ledger->unsent->next;
    }
    ledger->to_bare = ledger->to_empty = ledger->unsent;
    drop_recorded(s);
    advance(s);
}

void ledger_recorded(struct sched *s, uint64_t number)
{
    struct ledger *ledger = &s->ledger;
    if (!ledger->is_greeted) {
        greet(s, number);
        return;
    }
    number -= ledger->base;
    if (number <= ledger->recorded || number > ledger->told)
        return;
    ledger->recorded = number;
    drop_recorded(s);
    advance(s);
}

/* While nothing happens that has to be recorded nothing else would make room for more. */
void ledger_answered(struct sched *s)
{
    drop_recorded(s);
    advance(s);
}

/* Forgets the questions, and that anything was sent. */
void ledger_lost(struct sched *s)
{
    struct ledger *ledger = &s->ledger;
    struct entry **place = &ledger->first;
    ledger->last = NULL;
    while (*place) {
        struct entry *entry = *place;
        if (entry->number) {
            ledger->last = entry;
            place = &entry->next;
        } else {
            *place = entry->next;
            entry_free(ledger, entry);
        }
    }
    ledger->unsent = ledger->to_bare = ledger->to_empty = ledger->first;
    ledger->sent_bytes = 0;
    ledger->is_greeted = false;
}

void ledger_fini(struct sched *s)
{
    struct ledger *ledger = &s->ledger;
    while (ledger->first) {
        struct entry *entry = ledger->first;
        ledger->first = entry->next;
        entry_free(ledger, entry);
    }
    *ledger = (struct ledger){0};
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/index.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CHAINS_FIRST 16

/* Neighbouring pages go to different chains, and so do the same pages of two sessions. */
static size_t chain_of(const struct pc_index *index, uint64_t session, uint64_t first)
{
    uint64_t mixed = (session ^ first / PC_INDEX_PAGE) * UINT64_C(0x9e3779b97f4a7c15);
    return (mixed ^ mixed >> 32) & (index->chain_count - 1);
}

static struct pc_index_page **page_link(const struct pc_index *index, uint64_t session,
                                        uint64_t first)
{
    struct pc_index_page **link = &index->chains[chain_of(index, session, first)];
    while (*link && ((*link)->first != first || (*link)->session != session))
        link = &(*link)->chained;
    return link;
}

void pc_index_fini(struct pc_index *index)
{
    for (size_t i = 0; i < index->chain_count; i++)
        for (struct pc_index_page *page = index->chains[i], *next; page; page = next) {
            next = page->chained;
            free(page);
        }
    free(index->chains);
    *index = (struct pc_index){0};
}

void *pc_index_find(const struct pc_index *index, uint64_t session, uint64_t sequence)
{
    if (!index->page_count)
        return NULL;
    const struct pc_index_page *page =
        *page_link(index, session, sequence - sequence % PC_INDEX_PAGE);
    return page ? page->items[sequence % PC_INDEX_PAGE] : NULL;
}

static int grow(struct pc_index *index)
{
    struct pc_index larger = *index;
    larger.chain_count = index->chain_count ? 2 * index->chain_count : CHAINS_FIRST;
    larger.chains = calloc(larger.chain_count, sizeof(struct pc_index_page *));
    if (!larger.chains)
        return -1;
    for (size_t i = 0; i < index->chain_count; i++)
        for (struct pc_index_page *page = index->chains[i], *next; page; page = next) {
            next = page->chained;
            struct pc_index_page **chain =
                &larger.chains[chain_of(&larger, page->session, page->first)];
            page->chained = *chain;
            *chain = page;
        }
    free(index->chains);
    *index = larger;
    return 0;
}

int pc_index_add(struct pc_index *index, uint64_t session, uint64_t sequence, void *item)
{
    uint64_t first = sequence - sequence % PC_INDEX_PAGE;
    if (index->page_count == index->chain_count && grow(index))
        return -1;
    struct pc_index_page **link = page_link(index, session, first);
    if (!*link) {
        if (!(*link = malloc(sizeof(**link))))
            return -1;
        memset(*link, 0, sizeof(**link));
        (*link)->session = session;
        (*link)->first = first;
        index->page_count++;
    }
    void **place = &(*link)->items[sequence % PC_INDEX_PAGE];
    assert(item && !*place);
    *place = item;
    (*link)->count++;
    index->count++;
    return 0;
}

void pc_index_remove(struct pc_index *index, uint64_t session, uint64_t sequence)
{
    struct pc_index_page **link = page_link(index, session, sequence - sequence % PC_INDEX_PAGE);
    struct pc_index_page *page = *link;
    assert(page && page->items[sequence % PC_INDEX_PAGE]);
    page->items[sequence % PC_INDEX_PAGE] = NULL;
    index->count--;
    if (--page->count)
        return;
    *link = page->chained;
    index->page_count--;
    free(page);
}

void pc_index_each(const struct pc_index *index, void (*visit)(void *item, void *with), void *with)
{
    for (size_t i = 0; i < index->chain_count; i++)
        for (const struct pc_index_page *page = index->chains[i]; page; page = page->chained)
            for (size_t at = 0; at < PC_INDEX_PAGE; at++)
                if (page->items[at])
                    visit(page->items[at], with);
}

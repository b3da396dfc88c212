/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/birthmark.h"

#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

void pc_birthmark_init(struct pc_birthmark *mark)
{
    bool *page =
        mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *mark = (struct pc_birthmark){.pid = getpid()};
    if (page == MAP_FAILED)
        return;
    if (madvise(page, page_size(), MADV_WIPEONFORK)) {
        munmap(page, page_size());
        return;
    }
    *page = true;
    mark->page = page;
}

void pc_birthmark_fini(struct pc_birthmark *mark)
{
    if (mark->page)
        munmap((void *)mark->page, page_size());
    mark->page = NULL;
}

bool pc_birthmark_is_here(const struct pc_birthmark *mark)
{
    return mark->page ? *mark->page : mark->pid == getpid();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The main program of a fuzz target that is built without libFuzzer: runs it with every file of a
 * folder, and with what is nearest to it: every beginning of the file, and every byte of it
 * changed. So each test run covers the truncations of all messages, not only the messages.
 */
#include <dirent.h>
#include <malloc.h>
#include <string.h>
#include <sys/resource.h>

#include "fuzz.h"

#define SEED_MAX   (1 << 20)
#define NEAR_MAX   1024       /* larger seeds are only run as they are */
#define MEMORY_MAX (1L << 20) /* KiB that may have been in use, with a sanitizer's overhead */

/* From memory of exactly this size, so that a sanitizer sees the slightest read beyond it. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    FUZZ_CHECK(copy);
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void run_near(uint8_t *data, size_t size)
{
    static const uint8_t changes[] = {0x01, 0x80, 0xff};
    for (size_t shorter = 0; shorter < size; shorter++)
        run(data, shorter);
    for (size_t at = 0; at < size; at++)
        for (size_t i = 0; i < sizeof(changes); i++) {
            data[at] ^= changes[i];
            run(data, size);
            data[at] ^= changes[i];
        }
}

static void replay(const char *folder, const char *name)
{
    static uint8_t data[SEED_MAX];
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    size_t size = fread(data, 1, sizeof(data), file);
    fclose(file);
    printf("%s: %zu bytes\n", name, size);
    fflush(stdout);
    run(data, size);
    if (size <= NEAR_MAX)
        run_near(data, size);
}

int main(int argc, char **argv)
{
    /* meson sets MALLOC_PERTURB_, which would write to memory that must not be touched. */
    mallopt(M_PERTURB, 0);
    struct dirent **list;
    int count = argc == 2 ? scandir(argv[1], &list, NULL, alphasort) : -1, seeds = 0;
    if (count < 0) {
        fprintf(stderr, "usage: %s FOLDER-WITH-SEEDS\n", argv[0]);
        return 2;
    }
    for (int i = 0; i < count; i++) {
        if (list[i]->d_name[0] != '.') {
            replay(argv[1], list[i]->d_name);
            seeds++;
        }
        free(list[i]);
    }
    free(list);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("%d seeds, %ld KiB of memory at most\n", seeds, usage.ru_maxrss);
    if (seeds == 0 || usage.ru_maxrss > MEMORY_MAX) {
        fprintf(stderr, "no seeds, or more than %ld KiB of memory\n", MEMORY_MAX);
        return 1;
    }
    return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * JSON from peers, and connection files. What was parsed prints, parses again and prints the same;
 * a connection that was taken is the same after being written and read.
 */
#include "fuzz.h"

#include <string.h>

#include "lib/connfile.h"
#include "lib/json.h"

static size_t walk(const pc_json *json, size_t depth)
{
    size_t count = 1;
    const char *text = pc_json_text(json), *name = pc_json_name(json);
    FUZZ_CHECK(depth <= PC_JSON_DEPTH + 1);
    count += text ? strlen(text) : 0;
    count += name ? strlen(name) : 0;
    for (const pc_json *child = pc_json_first(json); child; child = pc_json_next(child))
        count += walk(child, depth + 1);
    return count;
}

static void get_everything(const pc_json *json)
{
    const char *const names[] = {"pid", "role", "ok", "session", ""};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct pc_err err = {0};
        const char *text;
        uint32_t u32;
        uint64_t u64;
        int64_t i64;
        bool truth;
        if (pc_json_get_str(json, names[i], &text, &err) < 0)
            FUZZ_CHECK(err.code == PC_E_PROTOCOL);
        if (pc_json_get_u32(json, names[i], &u32, &err) == 0)
            FUZZ_CHECK(pc_json_get_i64(json, names[i], &i64, &err) == 0 && i64 == u32);
        pc_json_get_u64(json, names[i], &u64, &err);
        pc_json_get_bool(json, names[i], &truth, &err);
    }
}

static void check_json(const uint8_t *data, size_t size)
{
    struct pc_err err = {0};
    pc_json *json = pc_json_parse(data, size, &err);
    if (!json) {
        FUZZ_CHECK(err.code == PC_E_PROTOCOL && err.text[0]);
        return;
    }
    walk(json, 1);
    get_everything(json);
    char *text = pc_json_print(json);
    FUZZ_CHECK(text);
    pc_json *again = pc_json_parse(text, strlen(text), &err);
    FUZZ_CHECK(again);
    char *same = pc_json_print(again);
    FUZZ_CHECK(same && strcmp(text, same) == 0);
    free(same);
    free(text);
    pc_json_free(again);
    pc_json_free(json);
}

static void check_connfile(const uint8_t *data, size_t size)
{
    struct pc_connfile file, again;
    struct pc_err err = {0};
    if (pc_connfile_parse(&file, (const char *)data, size, "input", &err) < 0) {
        FUZZ_CHECK(err.code == PC_E_BAD_FILE && strstr(err.text, "'input'"));
        return;
    }
    char *text = pc_connfile_print(&file);
    FUZZ_CHECK(text);
    FUZZ_CHECK(pc_connfile_parse(&again, text, strlen(text), "input", &err) == 0);
    char *same = pc_connfile_print(&again);
    FUZZ_CHECK(same && strcmp(text, same) == 0);
    FUZZ_CHECK(file.port == again.port && strcmp(file.host, again.host) == 0);
    free(text);
    free(same);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_json(data, size);
    if (size <= PC_CONNFILE_BYTES_MAX)
        check_connfile(data, size);
    return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Configuration files. What was taken, written line by line and read again, is the same. */
#include "fuzz.h"

#include <string.h>

#include "lib/buf.h"
#include "lib/config.h"

static void put(struct pc_buf *buf, const char *text)
{
    pc_buf_put(buf, text, strlen(text));
}

static void check_again(const struct pc_config *config)
{
    struct pc_config again;
    struct pc_buf text;
    struct pc_err err = {0};
    pc_buf_init(&text, 0);
    for (size_t i = 0; i < config->count; i++) {
        put(&text, config->lines[i].name);
        put(&text, "=");
        put(&text, config->lines[i].value);
        put(&text, "\n");
    }
    FUZZ_CHECK(pc_config_parse(&again, (const char *)text.data, text.size, "again", &err) == 0);
    FUZZ_CHECK(again.count == config->count);
    for (size_t i = 0; i < config->count; i++) {
        FUZZ_CHECK(strcmp(again.lines[i].name, config->lines[i].name) == 0);
        FUZZ_CHECK(strcmp(again.lines[i].value, config->lines[i].value) == 0);
    }
    pc_buf_fini(&text);
    pc_config_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pc_config config;
    struct pc_err err = {0};
    if (size > PC_CONFIG_BYTES_MAX)
        return 0;
    if (pc_config_parse(&config, (const char *)data, size, "input", &err) < 0) {
        FUZZ_CHECK(err.code == PC_E_BAD_FILE && strstr(err.text, "'input' line "));
        return 0;
    }
    check_again(&config);
    pc_config_fini(&config);
    return 0;
}

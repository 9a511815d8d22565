/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes as text: RFC 4648 section 4, padded, without line breaks. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** Room that @p length bytes need as text, with a NUL. */
#define BASE64_SIZE(length) (((length) + 2) / 3 * 4 + 1)

/** Write @p length bytes as text, with a NUL. @return how many characters, without it */
size_t base64_encode(char *text, const void *data, size_t length);

/**
 * Read text of @p length characters back; @p data has room for length / 4 * 3 bytes.
 * @return how many bytes, or -EINVAL if it is not base64 to the last bit
 */
ssize_t base64_decode(void *data, const char *text, size_t length);

/* SPDX-License-Identifier: Apache-2.0 */
/* What every fuzzer defines; libFuzzer's main, or replay.c's, calls it. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* A property that no input may break. */
static inline void must(int holds)
{
	if (!holds)
		abort();
}

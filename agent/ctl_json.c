/* SPDX-License-Identifier: Apache-2.0 */
/* Status and volumes as programs read them. */
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "ctl.h"

const char *self_test_name(uint32_t bit)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = {
		{SELF_TEST_MEMORY_LOCKED, "memory-locked"},
		{SELF_TEST_SECRET_MEMORY, "secret-memory"},
		{SELF_TEST_NO_CORE, "no-core"},
		{SELF_TEST_WATCHDOG, "watchdog"},
		{SELF_TEST_POWER_ARMED, "power-armed"},
		{SELF_TEST_INIT_ON_FREE, "init-on-free"},
		{SELF_TEST_KEYS_REFERENCED, "keys-referenced"},
		{SELF_TEST_QUEUES_BOUNDED, "queues-bounded"},
		{SELF_TEST_PANIC, "panic"},
		{SELF_TEST_INITRAMFS, "initramfs"},
		{SELF_TEST_KEYRING, "keyring"},
		{SELF_TEST_CRASH_KERNEL, "crash-kernel"},
		{SELF_TEST_KEYS_GONE, "keys-gone"},
		{SELF_TEST_PLAINTEXT, "plaintext"},
	};

	for (size_t i = 0; i < ELEMENTSOF(names); i++)
		if (names[i].bit == bit)
			return names[i].name;
	return NULL;
}

static json_t *bits_json(uint32_t bits)
{
	json_t *array = json_array();

	for (uint32_t bit = 1; bit; bit <<= 1)
		if ((bits & bit) && self_test_name(bit))
			json_array_append_new(array, json_string(self_test_name(bit)));
	return array;
}

/* Bytes that are no UTF-8 would make the whole status fail. */
static json_t *text_json(const char *text, size_t size)
{
	json_t *value = json_stringn(text, strnlen(text, size));

	return value ? value : json_string("?");
}

static json_t *hex_json(const uint8_t *bytes, size_t n)
{
	char text[2 * HASH_SIZE + 1];

	hex_encode(bytes, n, text);
	return bytes_are_zero(bytes, n) ? json_null() : json_string(text);
}

/* A pair a line. */
/* clang-format off */
static json_t *volume_json(const struct control_volume *v)
{
	return json_pack("{s:o, s:s, s:s, s:b, s:b, s:I, s:i, s:o, s:o, s:o}",
			 "name", text_json(v->name, sizeof(v->name)),
			 "use", volume_use_name((enum volume_use)v->use),
			 "state", volume_state_name((enum volume_state)v->state),
			 "required", (int)v->required,
			 "bind", (int)v->bound,
			 "bytes", (json_int_t)v->bytes,
			 "segments", (int)v->n_segments,
			 "disk", text_json(v->disk, sizeof(v->disk)),
			 "mount_point", text_json(v->mount_point, sizeof(v->mount_point)),
			 "reason", text_json(v->reason, sizeof(v->reason)));
}
/* clang-format on */
json_t *volumes_json(const struct control_status *status)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < status->n_volumes && i < VOLUMES_MAX; i++)
		json_array_append_new(array, volume_json(&status->volumes[i]));
	return array;
}

/* clang-format off */
/* null before admission. */
static json_t *lease_json(const struct control_status *s)
{
	bool endless = s->deadline_ns == LEASE_NEVER;
	json_int_t left = s->deadline_ns > s->now_ns
				  ? (json_int_t)((s->deadline_ns - s->now_ns) / NSEC_PER_MSEC)
				  : 0;

	if (s->ttl_ms == 0)
		return json_null();
	return json_pack("{s:I, s:o, s:o, s:s, s:I, s:I, s:I}",
			 "ttl_ms", (json_int_t)s->ttl_ms,
			 "left_ms", endless ? json_null() : json_integer(left),
			 "deadline_ns", endless ? json_null() : json_integer((json_int_t)s->deadline_ns),
			 "expiry", s->expiry == EXPIRY_WARN ? "warn" : "shred",
			 "challenge", (json_int_t)s->number,
			 "epoch", (json_int_t)s->highest.epoch,
			 "counter", (json_int_t)s->highest.counter);
}

json_t *status_json(const struct control_status *s)
{
	json_t *failure = s->failed ? text_json(s->failure, sizeof(s->failure)) : json_null();

	return json_pack(
		"{s:o, s:o, s:o, s:o, s:o, s:s, s:s, s:I, s:o, s:s, s:o,"
		" s:b, s:b, s:b, s:o, s:o, s:o, s:i, s:i, s:i, s:o}",
		"version", text_json(s->version, sizeof(s->version)),
		"workspace", text_json(s->workspace, sizeof(s->workspace)),
		"vm", text_json(s->vm, sizeof(s->vm)),
		"boot_id", hex_json(s->boot_id, sizeof(s->boot_id)),
		"admission", hex_json(s->admission, sizeof(s->admission)),
		"state", lease_state_name((enum lease_state)s->lease_state),
		"reason", reason_name((enum reason)s->reason),
		"now_ns", (json_int_t)s->now_ns,
		"lease", lease_json(s),
		"cmk", cmk_state_name((enum cmk_state)s->cmk_state),
		"failure", failure,
		"keeper_connected", (int)s->keeper_connected,
		"watchdog_connected", (int)s->watchdog_connected,
		"manager_connected", (int)s->manager_connected,
		"last_error", text_json(s->last_error, sizeof(s->last_error)),
		"self_test_passed", bits_json(s->self_test_passed),
		"self_test_failed", bits_json(s->self_test_failed),
		"agents", (int)s->agents,
		"pauses", (int)s->pauses,
		"rejected_tokens", (int)s->rejected_tokens,
		"volumes", volumes_json(s));
}

/* clang-format on */
int json_print(json_t *value)
{
	int r = value ? json_dumpf(value, stdout, JSON_INDENT(2)) : -1;

	json_decref(value);
	if (r < 0)
		return fputs("emberlockctl: no memory for JSON\n", stderr), EXIT_REFUSED;
	putchar('\n');
	return EXIT_DONE;
}

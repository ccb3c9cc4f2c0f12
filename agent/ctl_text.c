/* SPDX-License-Identifier: Apache-2.0 */
/* Status and volumes as people read them. */
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "ctl.h"

#define LABEL "%-11s "

void size_text(uint64_t bytes, char to[static 16])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	size_t unit = 0;
	uint64_t rest = 0;

	while (bytes >= 1024 && unit + 1 < ELEMENTSOF(units)) {
		rest = bytes % 1024;
		bytes /= 1024;
		unit++;
	}
	if (rest == 0)
		snprintf(to, 16, "%u %s", (unsigned)bytes, units[unit]);
	else
		snprintf(to, 16, "%u.%u %s", (unsigned)bytes, (unsigned)(rest * 10 / 1024),
			 units[unit]);
}

/* Text of the agent's configuration and of disks: nothing in it may steer a terminal. */
static void text_print(const char *text, size_t size, int width)
{
	int n = 0;

	for (; (size_t)n < size && text[n]; n++)
		putchar(text[n] >= ' ' && text[n] < 0x7f ? text[n] : '?');
	for (; n < width; n++)
		putchar(' ');
}

static void volume_print(const struct control_volume *volume)
{
	char size[16] = "-";

	if (volume->bytes)
		size_text(volume->bytes, size);
	text_print(volume->name, sizeof(volume->name), 16);
	printf("%-7s %-8s %-8s %-10s %3u  ", volume_use_name((enum volume_use)volume->use),
	       volume_state_name((enum volume_state)volume->state),
	       volume->required ? "required" : "optional", size, volume->n_segments);
	text_print(volume->disk, sizeof(volume->disk), 14);
	text_print(volume->mount_point, sizeof(volume->mount_point), 0);
	putchar('\n');
	if (volume->bound)
		puts(volume->state == VOLUME_PLANNED ? "    Bind=yes, waits for the manager's share"
						     : "    Bind=yes");
	if (volume->reason[0]) {
		fputs("    ", stdout);
		text_print(volume->reason, sizeof(volume->reason), 0);
		putchar('\n');
	}
}

void volumes_print(const struct control_status *status)
{
	if (status->n_volumes == 0) {
		puts("no volumes");
		return;
	}
	printf("%-16s%-7s %-8s %-8s %-10s %3s  %-14s%s\n", "VOLUME", "USE", "STATE", "NEED", "SIZE",
	       "SEG", "DISK", "MOUNT POINT");
	for (uint32_t i = 0; i < status->n_volumes && i < VOLUMES_MAX; i++)
		volume_print(&status->volumes[i]);
}

static void label_print(const char *label, const char *text, size_t size)
{
	printf(LABEL, label);
	text_print(text, size, 0);
	putchar('\n');
}

static void hex_print(const char *label, const uint8_t *bytes, size_t n)
{
	char text[2 * HASH_SIZE + 1];

	hex_encode(bytes, n, text);
	printf(LABEL "%s\n", label, bytes_are_zero(bytes, n) ? "-" : text);
}

static void lease_print(const struct control_status *status)
{
	printf(LABEL "%s", "state", lease_state_name((enum lease_state)status->lease_state));
	if (status->reason != REASON_NONE)
		printf(", %s", reason_name((enum reason)status->reason));
	putchar('\n');
	if (status->ttl_ms == 0)
		return;
	printf(LABEL, "lease");
	if (status->deadline_ns <= status->now_ns)
		printf("ended");
	else if (status->deadline_ns != LEASE_NEVER)
		printf("%ju s left",
		       (uintmax_t)((status->deadline_ns - status->now_ns) / NSEC_PER_SEC));
	printf(" of %ju s, then %s; challenge %ju, sequence %ju.%ju\n",
	       (uintmax_t)(status->ttl_ms / 1000),
	       status->expiry == EXPIRY_WARN ? "a warning" : "shred", (uintmax_t)status->number,
	       (uintmax_t)status->highest.epoch, (uintmax_t)status->highest.counter);
	printf(LABEL "%s\n", "CMK", cmk_state_name((enum cmk_state)status->cmk_state));
}

static void bits_print(const char *label, uint32_t bits)
{
	printf(LABEL, label);
	for (uint32_t bit = 1; bit; bit <<= 1)
		if ((bits & bit) && self_test_name(bit))
			printf("%s ", self_test_name(bit));
	puts(bits ? "" : "-");
}

static const char *connection(bool connected)
{
	return connected ? "connected" : "NOT connected";
}

void status_print(const struct control_status *status)
{
	label_print("version", status->version, sizeof(status->version));
	label_print("workspace", status->workspace, sizeof(status->workspace));
	label_print("VM", status->vm, sizeof(status->vm));
	lease_print(status);
	if (status->failed)
		label_print("FAILED", status->failure, sizeof(status->failure));
	hex_print("boot", status->boot_id, sizeof(status->boot_id));
	hex_print("admission", status->admission, sizeof(status->admission));
	printf(LABEL "keeper %s, watchdog %s, manager %s\n", "processes",
	       connection(status->keeper_connected), connection(status->watchdog_connected),
	       connection(status->manager_connected));
	if (status->last_error[0])
		label_print("last error", status->last_error, sizeof(status->last_error));
	bits_print("passed", status->self_test_passed);
	bits_print("not passed", status->self_test_failed);
	printf(LABEL "%u agents, %u pauses, %u tokens rejected\n\n", "this boot", status->agents,
	       status->pauses, status->rejected_tokens);
	volumes_print(status);
}

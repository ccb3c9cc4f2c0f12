/* SPDX-License-Identifier: Apache-2.0 */
/* emberlockctl metrics: the status as the text collector of Prometheus' node exporter reads it. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "ctl.h"

#define P "emberlock_"

static void head(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP " P "%s %s\n# TYPE " P "%s %s\n", name, help, name, type);
}

/* A label's value: of what others say, nothing ends the string or the line. */
static void label(FILE *f, const char *name, const char *text, size_t size)
{
	fprintf(f, "%s=\"", name);
	for (size_t i = 0; i < size && text[i]; i++) {
		bool plain = text[i] >= ' ' && text[i] < 0x7f;

		if (text[i] == '"' || text[i] == '\\')
			fputc('\\', f);
		fputc(plain ? text[i] : '?', f);
	}
	fputc('"', f);
}

static void number(FILE *f, const char *name, const char *type, const char *help, uint64_t value)
{
	head(f, name, type, help);
	fprintf(f, P "%s %" PRIu64 "\n", name, value);
}

static void identity(FILE *f, const struct control_status *s)
{
	head(f, "info", "gauge", "Who this VM is; always 1.");
	fputs(P "info{", f);
	label(f, "version", s->version, sizeof(s->version));
	fputc(',', f);
	label(f, "workspace", s->workspace, sizeof(s->workspace));
	fputc(',', f);
	label(f, "vm", s->vm, sizeof(s->vm));
	fputs("} 1\n", f);
}

static void lease(FILE *f, const struct control_status *s)
{
	uint64_t left = s->deadline_ns > s->now_ns ? s->deadline_ns - s->now_ns : 0;

	head(f, "state", "gauge", "State of this boot's lease: 1 for the one it is in.");
	for (int i = 0; i < LEASE_STATE__MAX; i++)
		fprintf(f, P "state{state=\"%s\"} %d\n", lease_state_name((enum lease_state)i),
			s->lease_state == (uint32_t)i);
	head(f, "cmk_state", "gauge", "The manager's word on the CMK: 1 for the state it is in.");
	for (int i = 0; i < CMK__MAX; i++)
		fprintf(f, P "cmk_state{state=\"%s\"} %d\n", cmk_state_name((enum cmk_state)i),
			s->cmk_state == (uint32_t)i);
	if (s->ttl_ms == 0)
		return;
	head(f, "lease_ttl_seconds", "gauge", "How long a lease of this boot lasts.");
	fprintf(f, P "lease_ttl_seconds %.3f\n", (double)s->ttl_ms / 1000);
	head(f, "lease_left_seconds", "gauge", "Until the lease ends; +Inf: it does not.");
	if (s->deadline_ns == LEASE_NEVER)
		fputs(P "lease_left_seconds +Inf\n", f);
	else
		fprintf(f, P "lease_left_seconds %.3f\n", (double)(left / NSEC_PER_MSEC) / 1000);
}

static void health(FILE *f, const struct control_status *s)
{
	number(f, "failed", "gauge", "1: this boot is never admitted.", s->failed);
	head(f, "connected", "gauge", "Whether the agent has a connection to it.");
	fprintf(f, P "connected{process=\"keeper\"} %u\n", s->keeper_connected);
	fprintf(f, P "connected{process=\"watchdog\"} %u\n", s->watchdog_connected);
	fprintf(f, P "connected{process=\"manager\"} %u\n", s->manager_connected);
	head(f, "self_test", "gauge", "1 passed, 0 not; one that was not looked at is not here.");
	for (uint32_t bit = 1; bit; bit <<= 1)
		if (((s->self_test_passed | s->self_test_failed) & bit) && self_test_name(bit))
			fprintf(f, P "self_test{test=\"%s\"} %d\n", self_test_name(bit),
				(s->self_test_passed & bit) != 0);
	number(f, "agents_total", "counter", "Agents of this boot.", s->agents);
	number(f, "pauses_total", "counter", "Pauses of the hypervisor that were noticed.",
	       s->pauses);
	number(f, "rejected_tokens_total", "counter", "Tokens that were not accepted.",
	       s->rejected_tokens);
}

static void volume_labels(FILE *f, const char *name, const struct control_volume *v)
{
	fprintf(f, P "%s{", name);
	label(f, "volume", v->name, sizeof(v->name));
}

static void volumes(FILE *f, const struct control_status *s)
{
	head(f, "volume_state", "gauge", "1: the volume is in this state.");
	for (uint32_t i = 0; i < s->n_volumes && i < VOLUMES_MAX; i++) {
		const struct control_volume *v = &s->volumes[i];

		volume_labels(f, "volume_state", v);
		fprintf(f, ",use=\"%s\",required=\"%s\",state=\"%s\"} 1\n",
			volume_use_name((enum volume_use)v->use), v->required ? "yes" : "no",
			volume_state_name((enum volume_state)v->state));
	}
	head(f, "volume_bytes", "gauge", "Size of the volume.");
	for (uint32_t i = 0; i < s->n_volumes && i < VOLUMES_MAX; i++) {
		volume_labels(f, "volume_bytes", &s->volumes[i]);
		fprintf(f, "} %" PRIu64 "\n", s->volumes[i].bytes);
	}
	head(f, "volume_segments", "gauge", "Keys that the volume lies under.");
	for (uint32_t i = 0; i < s->n_volumes && i < VOLUMES_MAX; i++) {
		volume_labels(f, "volume_segments", &s->volumes[i]);
		fprintf(f, "} %u\n", s->volumes[i].n_segments);
	}
}

/* Whole or not at all: the collector reads it at any time. */
static int metrics_write(const char *path, const char *text, size_t size)
{
	int r = 0;

	if (path)
		r = file_write_atomic(path, text, size, 0644);
	else if (fwrite(text, 1, size, stdout) != size)
		return EXIT_REFUSED;
	if (r < 0)
		return fprintf(stderr, "emberlockctl: metrics: %s: %s\n", path, strerror(-r)),
		       EXIT_REFUSED;
	return EXIT_DONE;
}

int command_metrics(const struct ctl_options *options)
{
	static struct control_status status;
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);
	bool up;
	int r;

	if (!f)
		return fputs("emberlockctl: metrics: no memory\n", stderr), EXIT_REFUSED;
	up = client_status(&status) == 0;
	number(f, "up", "gauge", "Whether the agent answers.", up);
	if (up) {
		identity(f, &status);
		lease(f, &status);
		health(f, &status);
		volumes(f, &status);
	}
	if (fclose(f) != 0)
		return fputs("emberlockctl: metrics: no memory\n", stderr), EXIT_REFUSED;
	r = metrics_write(options->output, text, size);
	return up ? r : EXIT_REFUSED;
}

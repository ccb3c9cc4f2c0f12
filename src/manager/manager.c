/* SPDX-License-Identifier: Apache-2.0 */
/* The manager as a whole: its parts made and freed in order, and the turn of its loop.
 *
 * What the events of a turn wrote is one transaction; their replies leave after its commit. */
#include "manager/manager.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "manager/audit.h"
#include "manager/deks.h"
#include "manager/events/events.h"
#include "manager/http_server.h"
#include "manager/leases.h"
#include "manager/metrics.h"
#include "manager/prober.h"
#include "manager/rotation.h"
#include "manager/routes_storage.h"
#include "manager/routes_vm.h"
#include "manager/signing.h"
#include "manager/tally.h"
#include "manager/tls.h"

#define KMS_WORKERS 8
#define FILES_KEPT  128 /* descriptors for all but connections */

static uint64_t now_ms(void)
{
	return clock_boottime_ns() / NSEC_PER_MSEC;
}

static void turn(struct manager *manager)
{
	bool dirty = store_is_dirty(manager->store);
	int r = store_commit(manager->store);

	manager->turn_ms = 0;
	if (dirty)
		metrics_count(manager, r < 0 ? METRIC_COMMITS_FAILED : METRIC_COMMITS);
	http_send_finished(manager, r);
	if (dirty && r == 0 && manager->audit)
		audit_log_committed(manager->audit);
}

static int on_turn(sd_event_source *source, void *userdata)
{
	turn(userdata);
	return 0;
}

void manager_turn_due(struct manager *manager)
{
	if (manager->turn_ms > 0)
		return;
	manager->turn_ms = now_ms();
	sd_event_source_set_enabled(manager->turn, SD_EVENT_ONESHOT);
}

void manager_turn_bound(struct manager *manager)
{
	if (manager->n_finished >= HTTP_TURN_REPLIES_MAX ||
	    (manager->turn_ms > 0 && now_ms() - manager->turn_ms >= HTTP_TURN_MS))
		turn(manager);
}

static void on_store_opened(void *userdata)
{
	manager_turn_due(userdata);
}

/* Two managers on one store would each think themselves the only one. */
static int lock_state(struct manager *manager)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/manager.lock", manager->state);
	manager->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (manager->lock < 0)
		return log_errno(-errno, "%s", path);
	if (flock(manager->lock, LOCK_EX | LOCK_NB) < 0)
		return log_errno(-errno, "%s: another manager runs on this state directory", path);
	return 0;
}

static int open_state(struct manager *manager, const struct manager_options *options)
{
	char path[512];
	int r;

	if ((size_t)snprintf(manager->state, sizeof(manager->state), "%s", options->state) >=
	    sizeof(manager->state))
		return log_errno(-ENAMETOOLONG, "%s", options->state);
	r = lock_state(manager);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/credentials", manager->state);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return log_errno(-errno, "%s", path);
	snprintf(path, sizeof(path), "%s/events", manager->state);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return log_errno(-errno, "%s", path);
	snprintf(path, sizeof(path), "%s/manager.db", manager->state);
	r = store_open(path, &manager->store);
	if (r < 0)
		return log_errno(r, "%s", path);
	r = signing_open(manager->state, manager->store, &manager->signing);
	if (r < 0)
		return r;
	store_on_open(manager->store, on_store_opened, manager);
	return 0;
}

static int add_turn(struct manager *manager)
{
	int r = sd_event_add_defer(manager->event, &manager->turn, on_turn, manager);

	if (r < 0)
		return r;
	sd_event_source_set_enabled(manager->turn, SD_EVENT_OFF);
	return sd_event_source_set_priority(manager->turn, SD_EVENT_PRIORITY_IDLE);
}

static int add_parts(struct manager *manager, const struct manager_options *options)
{
	int r;

	manager->metrics = calloc(1, sizeof(*manager->metrics));
	if (!manager->metrics)
		return -ENOMEM;
	r = add_turn(manager);
	if (r < 0)
		return r;
	r = open_state(manager, options);
	if (r < 0)
		return r;
	r = kms_pool_new(manager->event,
			 options->kms_workers > 0 ? options->kms_workers : KMS_WORKERS,
			 &manager->kms);
	if (r < 0)
		return r;
	r = tally_new(manager, &manager->tally);
	if (r == 0)
		r = leases_new(manager, &manager->leases);
	if (r == 0)
		r = prober_new(manager, &manager->prober);
	if (r == 0)
		r = audit_log_new(manager, &manager->audit);
	if (r == 0)
		r = keks_new(manager, &manager->keks);
	if (r == 0)
		r = rotation_new(manager, &manager->rotation);
	if (r == 0)
		r = deks_new(manager, &manager->deks);
	return r < 0 ? r : events_new(manager, &manager->events);
}

/* What the listeners may hold without running out of descriptors, and not more than was asked. */
static unsigned connections_max(const struct manager_options *options)
{
	rlim_t listeners = 2 + (options->storage_listen != NULL) + (options->events_listen != NULL);
	unsigned asked = options->max_connections;
	struct rlimit limit;
	rlim_t share = RLIM_INFINITY;

	if (asked == 0)
		asked = HTTP_CONNECTIONS_MAX;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
		share = limit.rlim_cur > FILES_KEPT ? (limit.rlim_cur - FILES_KEPT) / listeners : 1;
	return share < asked ? (unsigned)share : asked;
}

static const enum tls_clients clients_of[LISTENER__MAX] = {
	[LISTENER_VM] = TLS_CLIENTS_NONE,
	[LISTENER_ADMIN] = TLS_CLIENTS_ADMIN,
	[LISTENER_STORAGE] = TLS_CLIENTS_KEY,
	[LISTENER_EVENTS] = TLS_CLIENTS_SENDERS,
};

static int add_server(struct manager *manager, const struct manager_options *options,
		      enum manager_listener listener)
{
	const struct {
		const char *address;
		const struct http_route *routes;
		size_t n_routes;
	} table[LISTENER__MAX] = {
		[LISTENER_VM] = {options->listen, vm_routes, vm_routes_n},
		[LISTENER_ADMIN] = {options->admin_listen, options->admin_routes,
				    options->n_admin_routes},
		[LISTENER_STORAGE] = {options->storage_listen, storage_routes, storage_routes_n},
		[LISTENER_EVENTS] = {options->events_listen, event_routes, event_routes_n},
	};
	struct http_server_options server = {
		.manager = manager,
		.event = manager->event,
		.address = table[listener].address,
		.clients = clients_of[listener],
		.routes = table[listener].routes,
		.n_routes = table[listener].n_routes,
		.admit = listener == LISTENER_STORAGE ? storage_admit : NULL,
		.max_connections = connections_max(options),
	};
	int r;

	if (!server.address)
		return 0;
	r = tls_context_new(manager->state, server.clients, &server.tls);
	if (r < 0)
		return r;
	r = http_server_new(&server, &manager->servers[listener]);
	SSL_CTX_free(server.tls);
	return r;
}

static void cleanup_manager(struct manager **manager)
{
	*manager = manager_free(*manager);
}

int manager_new(sd_event *event, const struct manager_options *options,
		struct manager **ret_manager)
{
	_cleanup_(cleanup_manager) struct manager *manager = calloc(1, sizeof(*manager));
	int r;

	if (!manager)
		return -ENOMEM;
	manager->lock = -1;
	manager->event = sd_event_ref(event);
	r = add_parts(manager, options);
	for (int i = 0; r == 0 && i < LISTENER__MAX; i++)
		r = add_server(manager, options, (enum manager_listener)i);
	if (r < 0)
		return r;
	*ret_manager = TAKE_PTR(manager);
	return 0;
}

struct manager *manager_free(struct manager *manager)
{
	if (!manager)
		return NULL;
	if (manager->store)
		turn(manager);
	for (int i = 0; i < LISTENER__MAX; i++)
		http_server_free(manager->servers[i]);
	kms_pool_free(manager->kms);
	rotation_free(manager->rotation);
	tally_free(manager->tally);
	events_free(manager->events);
	deks_free(manager->deks);
	keks_free(manager->keks);
	prober_free(manager->prober);
	audit_log_free(manager->audit);
	leases_free(manager->leases);
	signing_free(manager->signing);
	store_free(manager->store);
	sd_event_source_disable_unref(manager->turn);
	sd_event_unref(manager->event);
	cleanup_close(&manager->lock);
	free(manager->metrics);
	free(manager);
	return NULL;
}

int manager_reload_tls(struct manager *manager)
{
	SSL_CTX *contexts[LISTENER__MAX] = {NULL};
	int r = 0;

	for (int i = 0; r == 0 && i < LISTENER__MAX; i++)
		r = tls_context_new(manager->state, clients_of[i], &contexts[i]);
	for (int i = 0; i < LISTENER__MAX; i++) {
		if (r == 0 && manager->servers[i])
			http_server_set_tls(manager->servers[i], contexts[i]);
		SSL_CTX_free(contexts[i]);
	}
	return r;
}

void manager_address(const struct manager *manager, enum manager_listener listener,
		     char text[static 64])
{
	*text = '\0';
	if (manager->servers[listener])
		http_server_address(manager->servers[listener], text);
}

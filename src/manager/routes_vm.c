/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of the first listener: records are decoded and their signatures checked here, before
 * anything is remembered. */
#include "manager/routes_vm.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "keys/bind.h"
#include "keys/sign.h"
#include "manager/audit.h"
#include "manager/leases.h"
#include "manager/metrics.h"
#include "manager/prober.h"
#include "manager/signing.h"

void vm_reply_malformed(struct http_request *http)
{
	metrics_count(http->manager, METRIC_REQUESTS_BAD);
	http_reply_error(http, 400, "malformed", "the body is not of the form");
}

void vm_reply_unsigned(struct http_request *http, const char *whose)
{
	metrics_count(http->manager, METRIC_REQUESTS_BAD);
	http_reply_error(http, 401, "signature", "not signed by %s", whose);
}

void vm_reply_store_error(struct http_request *http)
{
	http_reply_retry(http, 503, 5, "store", "the store does not answer");
}

bool vm_boot_find(struct http_request *http, const uint8_t admission[static HASH_SIZE],
		  struct store_boot *ret_boot, struct boot_report *ret_report)
{
	int r;

	r = store_boot_get(http->manager->store, admission, ret_boot);
	if (r == 0)
		r = boot_report_decode(ret_boot->report, sizeof(ret_boot->report), ret_report);
	if (r == -ENOENT)
		http_reply_error(http, 409, "admission", "no such admission");
	else if (r < 0)
		vm_reply_store_error(http);
	return r == 0;
}

/* --- POST /v1/boot, POST /v1/bound-boot --- */

struct boot_body {
	struct boot_report report;
	struct lease_request request;
	bool bound;		 /* a bind offer came with the two */
	struct bind_offer offer; /* zero where it is not */
	uint8_t admission[HASH_SIZE];
	struct store_vm vm;
};

/* The VM that the report names. Where there is none, a key that signs no report stands in for its own:
 * to a stranger all VMs, there or not, refuse alike and after the same work. -ENOENT, or the store's. */
static int boot_find_vm(struct http_request *http, const struct boot_report *claimed,
			struct store_vm *vm)
{
	uint8_t next[PUBLIC_KEY_SIZE];
	int r;

	r = store_vm_get(http->manager->store, claimed->workspace, claimed->vm, vm);
	if (r == -ENOENT)
		operation_signing_key_list(http->manager, vm->public_key, next);
	return r;
}

/* Where an offer is due: signed by the boot, and for a key that a share can be sealed for; that must
 * show before the KMS is asked for one. */
static int offer_verify(struct http_request *http, struct boot_body *body)
{
	static const uint8_t nothing[BIND_SHARE_SIZE];
	struct bind_share ignored;
	int r;

	if (!body->bound)
		return 0;
	r = bind_offer_verify(http->body + BOOT_BODY_SIZE, BIND_OFFER_SIZE, body->report.boot_key,
			      &body->offer);
	if (r == 0 && memcmp(body->offer.admission, body->admission, HASH_SIZE) != 0)
		r = -EKEYREJECTED;
	return r < 0 ? r : bind_seal(body->offer.key, body->admission, nothing, &ignored);
}

/* Whether the body is whole and signed, by an enrolled VM and by the boot key; else answered. */
static bool boot_verify(struct http_request *http, struct boot_body *body)
{
	size_t size = body->bound ? BOUND_BODY_SIZE : BOOT_BODY_SIZE;
	struct boot_report claimed;
	int r, vm_r;

	if (http->body_size != size ||
	    boot_report_decode(http->body, BOOT_REPORT_SIZE, &claimed) < 0 ||
	    (claimed.bound != 0) != body->bound) {
		vm_reply_malformed(http);
		return false;
	}
	vm_r = boot_find_vm(http, &claimed, &body->vm);
	if (vm_r < 0 && vm_r != -ENOENT) {
		vm_reply_store_error(http);
		return false;
	}
	r = boot_report_verify(http->body, BOOT_REPORT_SIZE, body->vm.public_key, &body->report);
	if (r == 0)
		r = lease_request_verify(http->body + BOOT_REPORT_SIZE, LEASE_REQUEST_SIZE,
					 body->report.boot_key, &body->request);
	if (r == 0)
		r = sha256(http->body, BOOT_REPORT_SIZE, body->admission);
	if (r == 0)
		r = offer_verify(http, body);
	if (r == -EBADMSG) {
		vm_reply_malformed(http);
		return false;
	}
	if (r < 0 || vm_r < 0 || memcmp(body->request.admission, body->admission, HASH_SIZE) != 0) {
		vm_reply_unsigned(http, "an enrolled VM of that name, and its boot");
		return false;
	}
	if (body->vm.removed_ms > 0) {
		http_reply_error(http, 403, "vm", "VM %s/%s is not enrolled any more",
				 claimed.workspace, claimed.vm);
		return false;
	}
	return true;
}

static int boot_store(struct http_request *http, const struct boot_body *body,
		      struct store_boot *boot)
{
	struct store *store = http->manager->store;
	struct store_workspace workspace;
	struct store_key key = {0};
	int r;

	r = store_workspace_get_by_id(store, body->vm.workspace, &workspace);
	if (r == 0 && workspace.key > 0)
		r = store_key_get_by_id(store, workspace.key, &key);
	if (r < 0)
		return r;
	*boot = (struct store_boot){
		.vm = body->vm.id,
		.workspace = body->vm.workspace,
		.state = engine_first_state(&body->report, key.confirm_boot),
		.first_ms = leases_time().real_ms,
		.self_test_passed = body->report.self_test_passed,
		.self_test_failed = body->report.self_test_failed,
	};
	boot->last_ms = boot->first_ms;
	memcpy(boot->admission, body->admission, HASH_SIZE);
	memcpy(boot->vm_key, body->vm.public_key, PUBLIC_KEY_SIZE);
	memcpy(boot->report, http->body, BOOT_REPORT_SIZE);
	memcpy(boot->bind_key, body->offer.key, BIND_KEY_SIZE);
	memcpy(boot->vm_name, body->vm.name, sizeof(boot->vm_name));
	memcpy(boot->workspace_name, body->vm.workspace_name, sizeof(boot->workspace_name));
	r = store_boot_insert(store, boot);
	if (r < 0)
		return r;
	audit_add_boot(store, boot, boot->state == BOOT_REFUSED ? "boot-refused" : "boot-reported",
		       json_pack("{s:s, s:s, s:b}", "version", body->report.version, "failure",
				 body->report.failure, "held", boot->state == BOOT_HELD));
	if (boot->state == BOOT_REFUSED)
		log_warning("%s/%s: booted with a failure: %s", boot->workspace_name, boot->vm_name,
			    body->report.failure);
	else
		log_info("%s/%s: reported a boot", boot->workspace_name, boot->vm_name);
	prober_watch(http->manager->prober, boot->workspace);
	return 0;
}

/* Finds the boot, or records it; false where the request has been answered. */
static bool boot_find(struct http_request *http, const struct boot_body *body,
		      struct store_boot *boot)
{
	struct manager *manager = http->manager;
	struct engine_report_facts facts = {0};
	struct store_boot other;
	int r, other_r;

	r = store_boot_get(manager->store, body->admission, boot);
	other_r = store_boot_get_by_boot_id(manager->store, body->report.boot_id, &other);
	if ((r < 0 && r != -ENOENT) || (other_r < 0 && other_r != -ENOENT)) {
		vm_reply_store_error(http);
		return false;
	}
	facts.known = r == 0;
	facts.boot_id_taken = other_r == 0;
	switch (engine_report_decide(&facts)) {
	case ENGINE_REPORT_KNOWN:
		return true;
	case ENGINE_REPORT_TAKEN:
		if (!leases_may_report(manager->leases, http, body->vm.id, body->vm.workspace))
			return false;
		audit_add(manager->store, (struct audit_about){.workspace = body->vm.workspace},
			  "boot-refused",
			  json_pack("{s:s, s:s, s:s}", "workspace", body->vm.workspace_name, "vm",
				    body->vm.name, "failure", "the boot id is used already"));
		log_warning("%s/%s: reports a boot id that is used already",
			    body->vm.workspace_name, body->vm.name);
		http_reply_error(http, 409, "boot-id", "the boot id is used already");
		return false;
	default:
		break;
	}
	if (!leases_may_report(manager->leases, http, body->vm.id, body->vm.workspace))
		return false;
	if (boot_store(http, body, boot) < 0) {
		vm_reply_store_error(http);
		return false;
	}
	return true;
}

static void boot_answer(struct http_request *http, bool bound)
{
	struct manager *manager = http->manager;
	struct boot_body body = {.bound = bound};
	struct store_boot boot;

	if (!boot_verify(http, &body))
		return;
	if (!leases_may_request(manager->leases, http, body.vm.id))
		return;
	if (!boot_find(http, &body, &boot))
		return;
	/* The share is sealed for the first one. */
	if (memcmp(boot.bind_key, body.offer.key, BIND_KEY_SIZE) != 0) {
		http_reply_error(http, 409, "offer", "this boot has offered another key");
		return;
	}
	leases_request(manager->leases, http, &boot, &body.request, true);
}

static void boot_handle(struct http_request *http)
{
	boot_answer(http, false);
}

static void bound_boot_handle(struct http_request *http)
{
	boot_answer(http, true);
}

/* --- POST /v1/lease --- */

static void lease_handle(struct http_request *http)
{
	struct manager *manager = http->manager;
	struct lease_request request;
	struct boot_report report;
	struct store_boot boot;

	if (lease_request_decode(http->body, http->body_size, &request) < 0) {
		vm_reply_malformed(http);
		return;
	}
	if (!vm_boot_find(http, request.admission, &boot, &report))
		return;
	if (lease_request_verify(http->body, http->body_size, report.boot_key, &request) < 0) {
		vm_reply_unsigned(http, "the key that counts");
		return;
	}
	if (!leases_may_request(manager->leases, http, boot.vm))
		return;
	leases_request(manager->leases, http, &boot, &request, false);
}

/* --- the others --- */

static void signing_keys_handle(struct http_request *http)
{
	http_reply_bytes(http, 200, "application/octet-stream", signing_set(http->manager->signing),
			 SIGNING_KEYS_SIZE);
}

static void health_handle(struct http_request *http)
{
	http_reply_bytes(http, 200, "text/plain", "ok\n", 3);
}

/* clang-format off */
const struct http_route vm_routes[] = {
	{HTTP_POST, "/v1/boot", ROLE_VM, BOOT_BODY_SIZE, boot_handle},
	{HTTP_POST, "/v1/bound-boot", ROLE_VM, BOUND_BODY_SIZE, bound_boot_handle},
	{HTTP_POST, "/v1/lease", ROLE_VM, LEASE_REQUEST_SIZE, lease_handle},
	{HTTP_POST, "/v1/receipt", ROLE_VM, RECEIPT_SIZE, receipt_handle},
	{HTTP_POST, "/v1/ending", ROLE_VM, ENDING_SIZE, ending_handle},
	{HTTP_GET, "/v1/signing-keys", ROLE_VM, 0, signing_keys_handle},
	{HTTP_GET, "/healthz", ROLE_VM, 0, health_handle},
};
/* clang-format on */
const size_t vm_routes_n = ELEMENTSOF(vm_routes);

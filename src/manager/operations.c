/* SPDX-License-Identifier: Apache-2.0 */
/* Operations of the admin API that need no KMS. */
#include <errno.h>

#include "base/log.h"
#include "manager/audit.h"
#include "manager/leases.h"
#include "manager/manager.h"
#include "manager/prober.h"

static int find_vm(struct manager *manager, const char *workspace, const char *name,
		   struct store_vm *ret_vm)
{
	int r = store_vm_get(manager->store, workspace, name, ret_vm);

	return r == 0 && ret_vm->removed_ms > 0 ? -ENOENT : r;
}

int operation_vm_shred(struct manager *manager, const char *workspace, const char *vm)
{
	struct store_vm row;
	int r;

	r = find_vm(manager, workspace, vm, &row);
	if (r == 0)
		r = store_boots_end_of_vm(manager->store, row.id, NULL, REASON_OPERATOR);
	if (r > 0)
		leases_review(manager->leases, LEASES_OF_VM, row.id);
	return r;
}

int operation_vm_remove(struct manager *manager, const char *workspace, const char *vm)
{
	struct store_vm row;
	int r;

	r = find_vm(manager, workspace, vm, &row);
	if (r == 0)
		r = store_savepoint(manager->store);
	if (r < 0)
		return r;
	r = store_vm_remove(manager->store, row.id);
	if (r == 0)
		r = store_boots_end_of_vm(manager->store, row.id, NULL, REASON_REMOVED);
	r = store_settle(manager->store, r);
	if (r > 0)
		leases_review(manager->leases, LEASES_OF_VM, row.id);
	return r < 0 ? r : 0;
}

int operation_boot_confirm(struct manager *manager, const uint8_t admission[static HASH_SIZE])
{
	struct store_boot boot;
	int r;

	r = store_boot_get(manager->store, admission, &boot);
	if (r < 0)
		return r;
	if (boot.state != BOOT_HELD && (boot.state != BOOT_WAITING || boot.confirmed))
		return -EINVAL;
	boot.state = BOOT_WAITING;
	boot.confirmed = true;
	r = store_boot_update(manager->store, &boot);
	if (r < 0)
		return r;
	log_notice("%s/%s: an operator confirmed the boot", boot.workspace_name, boot.vm_name);
	leases_review(manager->leases, LEASES_OF_VM, boot.vm);
	return 0;
}

int operation_boot_drill(struct manager *manager, const uint8_t admission[static HASH_SIZE])
{
	struct store_boot boot;
	int r;

	r = store_boot_get(manager->store, admission, &boot);
	if (r < 0)
		return r;
	if (!engine_may_drill(&boot, leases_time().real_ms))
		return -EINVAL;
	boot.state = BOOT_ENDING;
	boot.reason = REASON_DRILL;
	r = store_boot_update(manager->store, &boot);
	if (r < 0)
		return r;
	/* The record of the request, with who asked, comes after the verdict: this one says T1. */
	audit_add_boot(manager->store, &boot, "drill", json_object());
	log_notice("%s/%s: a drill ends the boot", boot.workspace_name, boot.vm_name);
	leases_review(manager->leases, LEASES_OF_VM, boot.vm);
	return 0;
}

int operation_store_adopt(struct manager *manager)
{
	int r = store_adopt(manager->store);

	if (r == 0)
		log_notice("store: adopted with epoch %llu",
			   (unsigned long long)store_epoch(manager->store));
	return r;
}

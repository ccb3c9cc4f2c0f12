/* SPDX-License-Identifier: Apache-2.0 */
/* Detaching what is mounted of a device. */
#pragma once

/* Detaches every mount of the block device MAJOR:MINOR that is in this mount namespace; nothing is read
 * or written on it, and mounts of others that are named after it, or take a mount's place meanwhile, stay.
 * 0; -EBUSY where one lies below somebody else's, or there are too many; or negative errno. */
int mounts_detach(unsigned major, unsigned minor);

/* SPDX-License-Identifier: Apache-2.0 */
/* The set-up of manager_world.h with the stand-in's clouds: their credentials are the manager's. */
#pragma once

#include "manager_world.h"
#include "standin.h"

#define AWS_KEY	    "arn:aws:kms:eu-central-1:111122223333:key/0d990263-018e-4e65-a703-eff731de951e"
#define AZURE_VAULT "https://emberlock.vault.azure.net"
#define GOOGLE_KEY  "projects/p-1/locations/europe-west3/keyRings/r/cryptoKeys/k"

/* A directory that the stand-in wrote, in place of the manager's empty one. */
static inline int clouds_hand_over(const char *directory)
{
	char from[128], to[128];

	snprintf(from, sizeof(from), "%s/clouds/%s", top, directory);
	snprintf(to, sizeof(to), "%s/%s", state_dir, directory);
	return rmdir(to) < 0 ? -1 : rename(from, to);
}

static inline int clouds_set_up(void **state)
{
	char directory[128];

	unsetenv("HTTPS_PROXY");
	unsetenv("https_proxy");
	if (set_up(state) < 0)
		return -1;
	snprintf(directory, sizeof(directory), "%s/clouds", top);
	if (mkdir(directory, 0700) < 0 || standin_start(directory) < 0)
		return -1;
	return clouds_hand_over("credentials");
}

static inline int clouds_tear_down(void **state)
{
	standin_stop();
	return tear_down(state);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which worker loads a table first.
 *
 * The first dm-crypt table of a boot may have the kernel run modprobe(8), and more than once. Tables that
 * are loaded meanwhile have it run as often again, for nothing, on processors that a boot is short of. So
 * one worker goes ahead, and behind it all go side by side. */
#pragma once

/* Passes the gate: at once for the first and for all behind gate_open(). Where that does not come, as the one
 * ahead was killed or is stuck, the wait ends after a second: a gate spares work and guards nothing. FD is
 * volume_gate_new()'s, or negative: then there is none. */
void gate_pass(int fd);

/* The first has its table, or has failed: opens the gate for good. */
void gate_open(int fd);

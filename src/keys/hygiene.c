/* SPDX-License-Identifier: Apache-2.0 */
/* A process that touches keys leaves no copy of them. */
#include "keys/hygiene.h"

#include <stdint.h>
#include <time.h>

/* No key byte: any value but zero. */
static const uint8_t junk[64] __attribute__((aligned(64))) = {
	0xa5, 0x5a, 0xa5, 0x5a, 0xa5, 0x5a, 0xa5, 0x5a, 0xa5, 0x5a, 0xa5, 0x5a, 0xa5,
	0x5a, 0xa5, 0x5a, 0xa5, 0x5a, 0xa5, 0x5a, 0xa5, 0x5a, 0xa5, 0x5a, 0xa5, 0x5a,
	0xa5, 0x5a, 0xa5, 0x5a, 0xa5, 0x5a, 0xa5, 0x5a, 0xa5, 0x5a, 0xa5, 0x5a, 0xa5,
	0x5a, 0xa5, 0x5a, 0xa5, 0x5a, 0xa5, 0x5a, 0xa5, 0x5a, 0xa5, 0x5a, 0xa5, 0x5a,
	0xa5, 0x5a, 0xa5, 0x5a, 0xa5, 0x5a, 0xa5, 0x5a, 0xa5, 0x5a, 0xa5, 0x5a};

#if defined(__x86_64__)
static void registers_fill(void)
{
	if (__builtin_cpu_supports("avx512f")) {
		__asm__ volatile(".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
				 "vmovdqa64 (%0), %%zmm\\n\n\t"
				 ".endr\n\t"
				 ".irp n,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n\t"
				 "vmovdqa64 (%0), %%zmm\\n\n\t"
				 ".endr"
				 :
				 : "r"(junk), "m"(junk)
				 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
				   "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
				   "xmm15");
	} else if (__builtin_cpu_supports("avx")) {
		__asm__ volatile(".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
				 "vmovdqa (%0), %%ymm\\n\n\t"
				 ".endr"
				 :
				 : "r"(junk), "m"(junk)
				 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
				   "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
				   "xmm15");
	} else {
		__asm__ volatile(".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
				 "movdqa (%0), %%xmm\\n\n\t"
				 ".endr"
				 :
				 : "r"(junk), "m"(junk)
				 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
				   "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
				   "xmm15");
	}
}
#elif defined(__aarch64__)
static void registers_fill(void)
{
	__asm__ volatile(".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
			 "ldr q\\n, [%0]\n\t"
			 ".endr\n\t"
			 ".irp n,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n\t"
			 "ldr q\\n, [%0]\n\t"
			 ".endr"
			 :
			 : "r"(junk), "m"(junk)
			 : "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11",
			   "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21",
			   "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31");
}
#else
#error "registers_scrub() knows the vector registers of x86-64 and arm64 only"
#endif

void registers_scrub(void)
{
	static const struct timespec short_while = {.tv_nsec = 1};

	registers_fill();
	(void)nanosleep(&short_while, NULL);
}

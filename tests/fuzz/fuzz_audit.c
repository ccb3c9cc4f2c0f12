/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of exported audit logs and of checkpoints: a line that is taken is the one text of its
 * record, and a log that is refused has a reason. */
#include "base/bytes.h"
#include "fuzz.h"
#include "manager/audit_verify.h"

static struct audit_verifier verifier;

static void start(void)
{
	verifier.head = (struct audit_head){0};
	verifier.withheld = verifier.proven = 0;
	verifier.n_keys = verifier.n_checkpoints = verifier.met = 0;
	verifier.have_root = true;
}

static void read_line(const char *line, size_t n)
{
	static char written[AUDIT_LINE_MAX];
	struct audit_record record;

	if (audit_line_read(line, n, &record) < 0)
		return;
	must(record.number > 0);
	must(!record.content || (record.content >= line && record.content_size <= n));
	must(audit_line_write(&record, written) == n + 1);
	must(memcmp(written, line, n) == 0 && written[n] == '\n');
}

static void read_lines(const char *text, size_t n)
{
	while (n > 0) {
		const char *end = memchr(text, '\n', n);
		size_t len = end ? (size_t)(end - text) : n;

		read_line(text, len);
		text += end ? len + 1 : len;
		n -= end ? len + 1 : len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const char *text = (const char *)bytes;
	char error[256] = "";
	int r;

	read_lines(text, size);
	start();
	if (audit_verifier_add_checkpoint(&verifier, text, size) == 0)
		must(size == 2 * (size_t)AUDIT_CHECKPOINT_SIZE && verifier.n_checkpoints == 1);
	start();
	r = audit_verifier_text(&verifier, text, size, error);
	if (r == 0)
		r = audit_verifier_end(&verifier, error);
	must(r == 0 || (error[0] && memchr(error, 0, sizeof(error))));
	must(verifier.head.number <= size / 64 + 1 && verifier.withheld <= verifier.head.number);
	return 0;
}

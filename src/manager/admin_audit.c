/* SPDX-License-Identifier: Apache-2.0 */
/* Admin API: the audit log, a page a request, and a checkpoint of it.
 *
 * A page for one workspace holds every record, so that the chain can be followed; but of what is not
 * about that workspace only the hash. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/parse.h"
#include "manager/admin_routes.h"
#include "manager/audit.h"
#include "manager/manager.h"
#include "manager/store.h"

/* The loop waits while a page is made. */
#define PAGE_RECORDS 1000
#define PAGE_BYTES   (1 << 20)

struct page {
	FILE *out;
	size_t size;
	char line[AUDIT_LINE_MAX];
};

static int add_line(const struct audit_record *record, void *userdata)
{
	struct page *page = userdata;
	size_t n = audit_line_write(record, page->line);

	if (fwrite(page->line, 1, n, page->out) != n)
		return -ENOMEM;
	page->size += n;
	return page->size >= PAGE_BYTES;
}

static int write_page(struct store *store, uint64_t from, const struct store_workspace *workspace,
		      char **ret_text, size_t *ret_n)
{
	_cleanup_free_ char *text = NULL;
	struct page page = {.out = open_memstream(&text, ret_n)};
	int r;

	if (!page.out)
		return -ENOMEM;
	r = store_audit(store, from, PAGE_RECORDS, workspace, add_line, &page);
	if (fclose(page.out) != 0 && r >= 0)
		r = -ENOMEM;
	if (r < 0)
		return r;
	*ret_text = TAKE_PTR(text);
	return 0;
}

static unsigned count_items(const char *query)
{
	unsigned n = *query ? 1 : 0;

	for (; *query; query++)
		n += *query == '&';
	return n;
}

/* "from=NUMBER" and "workspace=NAME", either or both, and nothing that is overlooked: who misspells
 * the one must not get the whole log. */
static int read_query(struct http_request *request, uint64_t *ret_from, char workspace[static 64])
{
	char from[24] = "1";
	unsigned n = 0;

	workspace[0] = '\0';
	n += http_request_query(request, "workspace", workspace, ID_TEXT_MAX + 1);
	n += http_request_query(request, "from", from, sizeof(from));
	if (n == count_items(request->query) && parse_u64(from, ret_from) == 0 && *ret_from > 0)
		return 0;
	http_reply_error(request, 400, "malformed",
			 "the query: only from=NUMBER, from 1 on, and workspace=NAME are known");
	return -EBADMSG;
}

void admin_audit_list(struct http_request *request)
{
	struct store *store = request->manager->store;
	_cleanup_free_ char *text = NULL;
	char name[ID_TEXT_MAX + 1];
	struct store_workspace workspace;
	uint64_t from;
	size_t n;
	int r;

	r = read_query(request, &from, name);
	if (r < 0)
		return;
	if (*name)
		r = store_workspace_get(store, name, &workspace);
	if (r < 0) {
		admin_reply_refused(request, r, "workspace", name);
		return;
	}
	r = write_page(store, from, *name ? &workspace : NULL, &text, &n);
	if (r < 0)
		admin_reply_refused(request, r, "audit log", "page");
	else
		http_reply_bytes(request, 200, "application/x-ndjson", text, n);
}

void admin_audit_checkpoint(struct http_request *request)
{
	uint8_t bytes[AUDIT_CHECKPOINT_SIZE];
	char hex[2 * AUDIT_CHECKPOINT_SIZE + 1], hash[2 * HASH_SIZE + 1];
	struct audit_checkpoint checkpoint;
	int r;

	r = audit_checkpoint_make(request->manager, bytes);
	if (r == 0)
		r = audit_checkpoint_decode(bytes, sizeof(bytes), &checkpoint);
	if (r < 0) {
		admin_reply_refused(request, r, "audit log", "checkpoint");
		return;
	}
	hex_encode(bytes, sizeof(bytes), hex);
	hex_encode(checkpoint.head.hash, HASH_SIZE, hash);
	http_reply_json(request, 200,
			json_pack("{s:I, s:s, s:I, s:s}", "number",
				  (json_int_t)checkpoint.head.number, "hash", hash, "made_at",
				  (json_int_t)checkpoint.made_at, "checkpoint", hex));
}

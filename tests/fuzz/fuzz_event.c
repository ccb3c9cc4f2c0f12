/* SPDX-License-Identifier: Apache-2.0 */
/* Messages on the listener of events. The first byte says of which cloud; the header is what stands
 * then before a line feed, the body what follows. Without a key nothing but Event Grid's is of the source, and
 * that only with its secret; whatever is to be fetched is on the source's own host. */
#include <stdio.h>

#include "fuzz.h"
#include "manager/events/verify.h"

#define GRID_KEY "0123456789abcdef0123456789abcdef"

static const struct event_source sources[] = {
	{.provider = "aws",
	 .topic_arn = "arn:aws:sns:eu-central-1:1:t",
	 .keys_base = "https://sns.eu-central-1.amazonaws.com/"},
	{.provider = "azure", .topic = "v", .key = GRID_KEY},
	{.provider = "google",
	 .audience = "a",
	 .email = "e",
	 .subscription = "s",
	 .keys_base = "https://www.googleapis.com/"},
};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const struct event_source *source;
	struct event_keys keys = {0};
	struct event_message message;
	struct event_result result;
	char header[4096] = "";
	const uint8_t *body;

	body = size > 1 ? memchr(bytes + 1, '\n', size - 1) : NULL;
	if (!body)
		return 0;
	source = &sources[bytes[0] % (sizeof(sources) / sizeof(sources[0]))];
	snprintf(header, sizeof(header), "%.*s", (int)(body - bytes) - 1, (const char *)bytes + 1);
	body++;
	message = (struct event_message){
		.authorization = header,
		.key = header,
		.body = (const char *)body,
		.n = size - (size_t)(body - bytes),
	};
	event_verify(source, &keys, &message, 1795000000, &result);
	must(!result.url[0] || (source->keys_base[0] && strncmp(result.url, source->keys_base,
								strlen(source->keys_base)) == 0));
	must((result.verdict == EVENT_KEY_WANTED) == (result.url[0] != '\0'));
	if (result.verdict >= EVENT_OLD)
		must(strcmp(source->provider, "azure") == 0 && strcmp(header, GRID_KEY) == 0);
	must(result.verdict > EVENT_MALFORMED || result.reason);
	return 0;
}

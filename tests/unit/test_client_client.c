/* SPDX-License-Identifier: Apache-2.0 */
/* The watchdog's way to the manager, against `openssl s_server`: whom it trusts, what it hands out. */
#include "scratch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "client/client.h"

#define CA_MAX 8192

static unsigned port;
static pid_t server;

/* Two authorities; the first certifies 127.0.0.1. And what the server has to give. */
static const char make_files[] =
	"exec 2>/dev/null; cd %s && mkdir v1 && head -c %u /dev/zero | tr '\\0' k >v1/signing-keys "
	"&& for ca in one "
	"other; do "
	"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 2 -subj "
	"/CN=$ca "
	"-keyout $ca.key -out $ca.pem || exit 1; done && cat other.pem one.pem >both.pem && "
	"openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj /CN=server "
	"-addext subjectAltName=IP:127.0.0.1 -keyout server.key -out server.csr && "
	"openssl x509 -req -in server.csr -CA one.pem -CAkey one.key -copy_extensions copy -days 2 "
	"-out server.pem";

static int address_of(struct sockaddr_in *address)
{
	*address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int free_port(void)
{
	struct sockaddr_in address;
	socklen_t size = sizeof(address);
	_cleanup_close_ int fd = -1;

	port = 0;
	fd = address_of(&address);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &size) < 0)
		return -1;
	port = ntohs(address.sin_port);
	return 0;
}

static bool serves(void)
{
	struct sockaddr_in address;
	_cleanup_close_ int fd = address_of(&address);

	return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

static int start_server(void **state)
{
	const struct scratch *scratch;
	char command[2048], accept[32];

	if (scratch_make(state) < 0 || free_port() < 0)
		return -1;
	scratch = *state;
	snprintf(command, sizeof(command), make_files, scratch->path, SIGNING_KEYS_SIZE);
	if (system(command) != 0)
		return -1;
	snprintf(accept, sizeof(accept), "127.0.0.1:%u", port);
	server = fork();
	if (server == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (chdir(scratch->path) == 0)
			execlp("openssl", "openssl", "s_server", "-quiet", "-WWW", "-accept",
			       accept, "-cert", "server.pem", "-key", "server.key", NULL);
		_exit(127);
	}
	for (int i = 0; i < 100 && !serves(); i++)
		usleep(50000);
	return server < 0 || !serves() ? -1 : 0;
}

static int stop_server(void **state)
{
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	return scratch_done(state);
}

static struct client *client_for(void **state, const char *host, const char *authorities)
{
	const struct scratch *scratch = *state;
	char path[128], ca[CA_MAX], url[64];
	struct client *client;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", scratch->path, authorities);
	n = file_read(AT_FDCWD, path, ca, sizeof(ca));
	assert_true(n > 0);
	snprintf(url, sizeof(url), "https://%s:%u", host, port);
	assert_int_equal(client_new(url, ca, (size_t)n, &client), 0);
	return client;
}

/* The next answer, within ten seconds. */
static void take(struct client *client, struct client_answer *answer)
{
	uint64_t end = clock_boottime_ns() + 10 * NSEC_PER_SEC;

	while (client_next(client, answer) == 0) {
		assert_true(clock_boottime_ns() < end);
		assert_int_equal(client_poll(client, NULL, 0, 100), 0);
	}
}

static int fetch(void **state, const char *host, const char *authorities,
		 struct client_answer *answer)
{
	struct client *client = client_for(state, host, authorities);

	assert_int_equal(client_send(client, ROUTE_SIGNING_KEYS, 7, NULL, 0), 0);
	take(client, answer);
	client_free(client);
	assert_int_equal(answer->route, ROUTE_SIGNING_KEYS);
	assert_int_equal(answer->number, 7);
	assert_int_equal(answer->error == 0, answer->error_text[0] == '\0');
	return answer->error;
}

static void only_the_enrolled_authorities_are_trusted(void **state)
{
	struct client_answer answer;

	assert_int_equal(fetch(state, "127.0.0.1", "one.pem", &answer), 0);
	assert_int_equal(answer.http_status, 200);
	assert_int_equal(answer.length, SIGNING_KEYS_SIZE);
	assert_int_equal(answer.body[SIGNING_KEYS_SIZE - 1], 'k');
	assert_int_equal(fetch(state, "127.0.0.1", "both.pem", &answer), 0);
	assert_int_equal(fetch(state, "127.0.0.1", "other.pem", &answer), -EKEYREJECTED);
	/* A certificate of ours, for another name. */
	assert_int_equal(fetch(state, "localhost", "one.pem", &answer), -EKEYREJECTED);
}

static void answers_are_bounded(void **state)
{
	const struct scratch *scratch = *state;
	static const uint8_t long_one[BODY_MAX + 1];
	struct client_answer answer;
	char path[128];

	snprintf(path, sizeof(path), "%s/v1/signing-keys", scratch->path);
	assert_int_equal(file_write_atomic(path, long_one, BODY_MAX, 0600), 0);
	assert_int_equal(fetch(state, "127.0.0.1", "one.pem", &answer), 0);
	assert_int_equal(answer.length, BODY_MAX);
	assert_int_equal(file_write_atomic(path, long_one, BODY_MAX + 1, 0600), 0);
	assert_int_equal(fetch(state, "127.0.0.1", "one.pem", &answer), -EMSGSIZE);
	assert_int_equal(answer.length, 0);
}

static void an_earlier_exchange_is_dropped(void **state)
{
	struct client *client = client_for(state, "127.0.0.1", "one.pem");
	struct client_answer answer;

	assert_int_equal(client_send(client, ROUTE_SIGNING_KEYS, 1, NULL, 0), 0);
	assert_int_equal(client_poll(client, NULL, 0, 0), 0);
	assert_int_equal(client_send(client, ROUTE_SIGNING_KEYS, 2, NULL, 0), 0);
	take(client, &answer);
	assert_int_equal(answer.number, 2);
	assert_int_equal(client_send(client, ROUTE_SIGNING_KEYS, 3, NULL, 0), 0);
	client_cancel_all(client);
	assert_int_equal(client_poll(client, NULL, 0, 200), 0);
	assert_int_equal(client_next(client, &answer), 0);
	client_free(client);
}

static void what_is_not_of_the_protocol_is_refused(void **state)
{
	static const char *const urls[] = {
		"",
		"http://h",
		"https://",
		"https://h/",
		"https://h/v1",
		"https://h?x",
		"https://u@h",
		"https://h#f",
		"https://h : 1",
		"ftp://h",
		"HTTPS//h:443",
	};
	struct client *client = client_for(state, "127.0.0.1", "one.pem");
	uint8_t body[BODY_MAX] = {0};
	struct client *none;

	for (size_t i = 0; i < ELEMENTSOF(urls); i++)
		assert_int_equal(client_new(urls[i], "x", 1, &none), -EINVAL);
	assert_int_equal(client_new("https://h", "", 0, &none), -EINVAL);
	assert_int_equal(client_send(client, ROUTE_LEASE, 1, body, LEASE_REQUEST_SIZE - 1),
			 -EINVAL);
	assert_int_equal(client_send(client, ROUTE_SIGNING_KEYS, 1, body, 1), -EINVAL);
	assert_int_equal(client_send(client, ROUTE__MAX, 1, body, 1), -EINVAL);
	assert_int_equal(client_send(client, (enum route)0, 1, NULL, 0), -EINVAL);
	client_free(client);
}

static void nobody_there_is_told(void **state)
{
	struct client_answer answer;
	unsigned before = port;

	assert_int_equal(free_port(), 0);
	assert_int_equal(fetch(state, "127.0.0.1", "one.pem", &answer), -ECONNREFUSED);
	port = before;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_enrolled_authorities_are_trusted),
		cmocka_unit_test(answers_are_bounded),
		cmocka_unit_test(an_earlier_exchange_is_dropped),
		cmocka_unit_test(what_is_not_of_the_protocol_is_refused),
		cmocka_unit_test(nobody_there_is_told),
	};

	return cmocka_run_group_tests(tests, start_server, stop_server);
}

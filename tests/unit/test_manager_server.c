/* SPDX-License-Identifier: Apache-2.0 */
/* The manager's server against peers that are wrong, hostile, slow, or gone. */
#include "manager_world.h"

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/cleanup.h"

/* --- peers that do too little, each in a thread of its own beside the tests --- */

enum slow_kind { SLOW_NO_TLS, SLOW_NO_BODY, SLOW_NO_WINDOW, SLOW_NO_PING, SLOW__MAX };

static struct slow {
	enum slow_kind kind;
	pthread_t thread;
	unsigned port;
	uint64_t took_ms; /* until the manager closed */
} slow[SLOW__MAX];

static int connect_to(unsigned port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -1 : fd;
}

/* HTTP/2 by hand: preface, empty SETTINGS, and a POST of /v1/lease whose body never comes. */
static const uint8_t request_without_body[] =
	{
		'P',  'R',  'I',  ' ', '*', ' ',  'H', 'T', 'T', 'P', '/',
		'2',  '.',  '0',  13,  10,  13,	  10,  'S', 'M', 13,  10,
		13,   10,   0,	  0,   0,   4,	  0,   0,   0,	 0,   0, /* SETTINGS */
		0,    0,    16,	  1,   4,   0,	  0,   0,   1,		 /* HEADERS */
		0x83, 0x87, 0x41, 1,   'h', 0x44, 9,   '/', 'v', '1', '/',
		'l',  'e',  'a',  's', 'e', /* HPACK */
};

/* A window of no bytes, and GET /healthz: its answer cannot leave. */
static const uint8_t request_without_window[] = {
	'P',  'R',  'I',  ' ', '*', ' ',  'H', 'T', 'T', 'P', '/', '2', '.', '0', 13,
	10,   13,   10,	  'S', 'M', 13,	  10,  13,  10,	 0,   0,   6,	4,   0,	  0,
	0,    0,    0,	  0,   4,   0,	  0,   0,   0, /* SETTINGS_INITIAL_WINDOW_SIZE */
	0,    0,    15,	  1,   5,   0,	  0,   0,   1, /* HEADERS */
	0x82, 0x87, 0x41, 1,   'h', 0x44, 8,   '/', 'h', 'e', 'a', 'l', 't', 'h', 'z', /* HPACK */
};

static void *slow_main(void *userdata)
{
	static const uint8_t h2[] = {2, 'h', '2'};
	struct slow *s = userdata;
	uint64_t start = now_ms();
	int fd = connect_to(s->port);
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL *tls = SSL_new(context);
	char buffer[256];

	SSL_set_fd(tls, fd);
	SSL_set_alpn_protos(tls, h2, sizeof(h2));
	if (s->kind == SLOW_NO_TLS) {
		while (read(fd, buffer, sizeof(buffer)) > 0)
			;
	} else if (SSL_connect(tls) == 1) {
		if (s->kind == SLOW_NO_WINDOW)
			SSL_write(tls, request_without_window, sizeof(request_without_window));
		else
			SSL_write(tls, request_without_body,
				  s->kind == SLOW_NO_BODY ? sizeof(request_without_body) : 33);
		while (SSL_read(tls, buffer, sizeof(buffer)) > 0)
			;
	}
	s->took_ms = now_ms() - start;
	SSL_free(tls);
	SSL_CTX_free(context);
	close(fd);
	return NULL;
}

static void slow_start(void)
{
	for (int i = 0; i < SLOW__MAX; i++) {
		slow[i].kind = (enum slow_kind)i;
		slow[i].port = (unsigned)atoi(strrchr(vm_url, ':') + 1);
		assert_int_equal(pthread_create(&slow[i].thread, NULL, slow_main, &slow[i]), 0);
	}
}

static void test_slow_peers(void **state)
{
	static const struct {
		unsigned from, to;
	} expected[SLOW__MAX] = {
		[SLOW_NO_TLS] = {9500, 13000},
		[SLOW_NO_BODY] = {14500, 18000},
		[SLOW_NO_WINDOW] = {19500, 23500},
		[SLOW_NO_PING] = {24500, 29000},
	};

	for (int i = 0; i < SLOW__MAX; i++) {
		pthread_join(slow[i].thread, NULL);
		assert_in_range(slow[i].took_ms, expected[i].from, expected[i].to);
	}
}

/* --- tests --- */

static void test_unsigned(void **state)
{
	static struct answer answer;
	uint8_t body[BOOT_BODY_SIZE];
	struct vm vm, thief;

	vm_enrol(&vm, "w", "unsigned");
	/* Signed by a key that is not the VM's. */
	thief = (struct vm){.workspace = "w", .name = "unsigned"};
	random_key(&thief.key);
	vm_boot(&thief);
	vm_post_boot(&thief, &answer);
	assert_int_equal(answer.status, 401);
	/* Each part broken. */
	memcpy(body, vm.report, BOOT_REPORT_SIZE);
	vm_request(&vm, body + BOOT_REPORT_SIZE);
	body[BOOT_REPORT_SIZE - 1] ^= 1;
	post("/v1/boot", body, sizeof(body), &answer);
	assert_int_equal(answer.status, 401);
	body[BOOT_REPORT_SIZE - 1] ^= 1;
	body[BOOT_BODY_SIZE - 1] ^= 1;
	post("/v1/boot", body, sizeof(body), &answer);
	assert_int_equal(answer.status, 401);
	/* A request of another admission. */
	body[BOOT_BODY_SIZE - 1] ^= 1;
	thief.boot_key = signing_key_free(thief.boot_key);
	assert_null(fleet_of(&vm));
	post("/v1/boot", body, sizeof(body), &answer);
	assert_int_equal(answer.status, 200);
	vm_request(&vm, body);
	body[LEASE_REQUEST_SIZE - 1] ^= 1;
	post("/v1/lease", body, LEASE_REQUEST_SIZE, &answer);
	assert_int_equal(answer.status, 401);
	vm_done(&vm);
	vm_done(&thief);
}

static void test_malformed(void **state)
{
	static struct answer answer;
	static uint8_t zeros[8192];
	struct vm vm, unknown = {.workspace = "w", .name = "unknown"};

	vm_enrol(&vm, "w", "malformed");
	post("/v1/boot", "", 0, &answer);
	assert_int_equal(answer.status, 400);
	post("/v1/lease", "", 0, &answer);
	assert_int_equal(answer.status, 400);
	post("/v1/receipt", "", 0, &answer);
	assert_int_equal(answer.status, 400);
	post("/v1/boot", zeros, BOOT_BODY_SIZE, &answer);
	assert_int_equal(answer.status, 400);
	post("/v1/boot", vm.report, BOOT_REPORT_SIZE, &answer);
	assert_int_equal(answer.status, 400);
	post("/v1/boot", zeros, BOOT_BODY_SIZE + 1, &answer);
	assert_int_equal(answer.status, 413);
	post("/v1/lease", zeros, LEASE_REQUEST_SIZE, &answer);
	assert_int_equal(answer.status, 400);
	post("/v1/receipt", zeros, RECEIPT_SIZE, &answer);
	assert_int_equal(answer.status, 400);
	vm_post_lease(&vm, &answer); /* its boot was never reported */
	assert_int_equal(answer.status, 409);
	random_key(&unknown.key);
	vm_boot(&unknown);
	vm_post_boot(&unknown, &answer);
	assert_int_equal(answer.status, 401);
	get("/v1/lease", &answer);
	assert_int_equal(answer.status, 405);
	get("/v1/fleet", &answer);
	assert_int_equal(answer.status, 404);
	get("/healthz", &answer);
	assert_int_equal(answer.status, 200);
	vm_done(&vm);
	vm_done(&unknown);
}

static void test_transport(void **state)
{
	static struct answer answer;
	struct curl_slist *headers = NULL;
	static char big[9000] = "x: ";
	CURL *curl;

	curl = handle_for(vm_url, "/healthz", &answer);
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	perform(curl, &answer);
	assert_int_equal(answer.status, 0);
	curl = handle_for(vm_url, "/healthz", &answer);
	curl_easy_setopt(curl, CURLOPT_SSL_ENABLE_ALPN, 0L);
	perform(curl, &answer);
	assert_int_equal(answer.status, 0);
	curl = handle_for(vm_url, "/healthz", &answer);
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_MAX_TLSv1_2);
	perform(curl, &answer);
	assert_int_equal(answer.status, 0);
	/* Headers above the limit: no answer, and the manager lives on. */
	memset(big + 3, 'y', sizeof(big) - 4);
	headers = curl_slist_append(headers, big);
	curl = handle_for(vm_url, "/healthz", &answer);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	perform(curl, &answer);
	assert_int_equal(answer.status, 0);
	curl_slist_free_all(headers);
	/* The admin listener wants a certificate in the handshake, and not the VM's route. */
	assert_null(admin(NULL, "GET", "/v1/fleet", NULL, 0));
	json_decref(admin("operator", "GET", "/v1/fleet", NULL, 200));
	json_decref(admin("operator", "POST", "/v1/store/adopt", NULL, 403));
	json_decref(admin("key-administrator", "POST", "/v1/vms/w/renew/shred", NULL, 403));
	get("/healthz", &answer);
	assert_int_equal(answer.status, 200);
}

static void test_limits(void **state)
{
	static struct answer answer;
	struct vm vm;
	int admitted = 0;

	vm_enrol(&vm, "w", "limits");
	for (int i = 0; i < 10; i++) {
		vm_boot(&vm);
		vm_post_boot(&vm, &answer);
		if (answer.status != 200)
			break;
		admitted++;
	}
	assert_int_equal(answer.status, 429);
	assert_true(answer.retry_after > 0 && answer.retry_after <= 30);
	assert_int_equal(admitted, 6);
	vm_done(&vm);
}

/* One that is parked when the manager ends, and one whose peer goes. */
static void test_gone(void **state)
{
	struct answer *answer = calloc(1, sizeof(*answer));
	uint8_t body[LEASE_REQUEST_SIZE];
	struct parked *parked;
	struct vm vm;
	CURL *curl;

	vm_enrol(&vm, "w", "gone");
	vm_admit(&vm);
	vm_request(&vm, body);
	curl = handle_for(vm_url, "/v1/lease", answer);
	curl_easy_setopt(curl, CURLOPT_POST, 1L);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)sizeof(body));
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 500L);
	perform(curl, answer);
	assert_int_equal(answer->error, CURLE_OPERATION_TIMEDOUT);
	/* The parking is forgotten; the same challenge may be parked again. */
	parked = park(&vm, false);
	manager_stop();
	parked_wait(parked);
	assert_int_not_equal(parked->answer.error, CURLE_OK);
	manager_start();
	vm_renew(&vm);
	free(answer);
	free(parked);
	vm_done(&vm);
}

/* More connections than the manager may hold, of peers that show nothing: one that wants to get in
 * gets in, and a VM's stays. */
static void test_crowd(void **state)
{
	struct rlimit before, few;
	static struct answer answer;
	struct parked *parked;
	unsigned port;
	int fds[24];
	struct vm vm;

	vm_enrol(&vm, "w", "crowd");
	manager_stop();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = (struct rlimit){128 + 2 * 8, before.rlim_max}; /* 8 a listener */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	manager_start();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	port = (unsigned)atoi(strrchr(vm_url, ':') + 1);
	vm_admit(&vm);
	parked = park(&vm, false);
	for (size_t i = 0; i < ELEMENTSOF(fds); i++) {
		fds[i] = connect_to(port);
		assert_true(fds[i] >= 0);
	}
	pause_ms(300);
	get("/healthz", &answer);
	assert_int_equal(answer.status, 200);
	parked_wait(parked);
	vm_take(&vm, &parked->answer, VERDICT_CONTINUE, REASON_NONE);
	for (size_t i = 0; i < ELEMENTSOF(fds); i++)
		close(fds[i]);
	free(parked);
	vm_done(&vm);
}

static int set_up_slow(void **state)
{
	int r = set_up(state);

	if (r == 0)
		slow_start();
	return r;
}

static int tests(void)
{
	const struct CMUnitTest list[] = {
		cmocka_unit_test(test_unsigned),   cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_transport),  cmocka_unit_test(test_limits),
		cmocka_unit_test(test_slow_peers), cmocka_unit_test(test_gone),
		cmocka_unit_test(test_crowd),
	};

	return cmocka_run_group_tests(list, set_up_slow, tear_down);
}

int main(int argc, char **argv)
{
	return world_main(argc, argv, tests);
}

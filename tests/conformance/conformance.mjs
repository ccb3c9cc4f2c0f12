// SPDX-License-Identifier: Apache-2.0
// The official SDKs of three clouds against the stand-in KMS: what it must do, and how it must refuse.
// usage: conformance.mjs DIRECTORY-OF-THE-STAND-IN; NODE_EXTRA_CA_CERTS is its ca.pem.
import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { DecryptCommand, DescribeKeyCommand, EncryptCommand, KMSClient } from "@aws-sdk/client-kms";
import { AssumeRoleCommand, STSClient } from "@aws-sdk/nested-clients/sts";
import { fromTokenFile } from "@aws-sdk/credential-provider-web-identity";
import { fromInstanceMetadata } from "@smithy/credential-provider-imds";
import { CryptographyClient, KeyClient } from "@azure/keyvault-keys";
import { Gaxios } from "gaxios";
import { Compute, OAuth2Client } from "google-auth-library";
import { GoogleError } from "google-gax";
import { GoogleToken } from "gtoken";
import kms from "@google-cloud/kms";

const directory = process.argv[2];
const [port, metadataPort] = readFileSync(join(directory, "ready"), "utf8").trim().split(" ").map(Number);
const origin = `https://127.0.0.1:${port}`;
const metadata = `http://127.0.0.1:${metadataPort}`;
// Debian 12's Node 18 has it under this name alone.
globalThis.crypto ??= webcrypto;
process.env.AWS_EC2_METADATA_SERVICE_ENDPOINT = metadata;
process.env.GCE_METADATA_HOST = `127.0.0.1:${metadataPort}`;
process.env.METADATA_SERVER_DETECTION = "assume-present";

const file = (name) => JSON.parse(readFileSync(join(directory, "credentials", name), "utf8"));
const secret = Buffer.from("canary of thirty-two characters!");
let failed = 0;

async function control(order) {
  const response = await fetch(`${origin}/control`, { method: "POST", body: JSON.stringify(order) });
  assert.equal(response.status, 200);
}

// One check: RUN, after the stand-in took ORDER.
async function check(name, order, run) {
  await control({ reset: true });
  await control(order);
  try {
    await run();
    console.log(`ok conformance/${name}`);
  } catch (error) {
    failed += 1;
    console.log(`    ${String(error.stack ?? error).split("\n").slice(0, 12).join("\n    ")}`);
    console.log(`not ok conformance/${name}`);
  }
}

// RUN fails with an error that has EXPECTED's members.
async function refused(run, expected) {
  let got;
  try {
    await run();
  } catch (error) {
    got = error;
  }
  assert.ok(got, "it was not refused");
  for (const [name, value] of Object.entries(expected)) {
    const is = name.split(".").reduce((at, part) => at?.[part], got);
    assert.deepEqual(is, value, `${name} of: ${got.stack}`);
  }
}

// --- AWS

const awsKey = "arn:aws:kms:eu-central-1:111122223333:key/0d990263-018e-4e65-a703-eff731de951e";
const awsRole = "arn:aws:iam::111122223333:role/customer";
const awsConfig = { region: "eu-central-1", endpoint: origin, maxAttempts: 1 };
const EncryptionContext = { workspace: "w", purpose: "test" };

function awsStatic(name) {
  const { access_key_id: accessKeyId, secret_access_key: secretAccessKey, session_token: sessionToken } = file(name);
  return { accessKeyId, secretAccessKey, sessionToken };
}

const awsClient = (credentials) => new KMSClient({ ...awsConfig, credentials });
const awsEncrypt = (client, KeyId = awsKey) =>
  client.send(new EncryptCommand({ KeyId, Plaintext: secret, EncryptionContext }));

async function awsRoundTrip(credentials) {
  const client = awsClient(credentials);
  const { CiphertextBlob, KeyId } = await awsEncrypt(client);
  assert.equal(KeyId, awsKey);
  const reply = await client.send(new DecryptCommand({ KeyId: awsKey, CiphertextBlob, EncryptionContext }));
  assert.deepEqual(Buffer.from(reply.Plaintext), secret);
  assert.equal(reply.KeyId, awsKey);
  const { KeyMetadata } = await client.send(new DescribeKeyCommand({ KeyId: awsKey }));
  assert.equal(KeyMetadata.KeyState, "Enabled");
}

async function awsAssume(own, ExternalId) {
  const client = new STSClient({ ...awsConfig, credentials: own });
  const { Credentials: c } = await client.send(
    new AssumeRoleCommand({ RoleArn: awsRole, RoleSessionName: "conformance", ExternalId, DurationSeconds: 900 }),
  );
  assert.ok(c.Expiration > new Date());
  return { accessKeyId: c.AccessKeyId, secretAccessKey: c.SecretAccessKey, sessionToken: c.SessionToken };
}

async function aws() {
  const own = awsStatic("aws-static");
  const client = awsClient(own);
  const { CiphertextBlob } = await awsEncrypt(client);
  const decrypt = () => client.send(new DecryptCommand({ KeyId: awsKey, CiphertextBlob, EncryptionContext }));
  const describe = () => client.send(new DescribeKeyCommand({ KeyId: awsKey }));

  await check("aws/static", {}, () => awsRoundTrip(own));
  await check("aws/session-token", {}, () => awsRoundTrip(awsStatic("aws-session")));
  await check("aws/instance", {}, () => awsRoundTrip(fromInstanceMetadata({ maxRetries: 0 })));
  await check("aws/web-identity", {}, () =>
    awsRoundTrip(
      fromTokenFile({
        roleArn: awsRole,
        webIdentityTokenFile: join(directory, "credentials", "web-token"),
        clientConfig: awsConfig,
      }),
    ),
  );
  await check("aws/assume-role", {}, async () => awsRoundTrip(await awsAssume(own, "tenant-4711")));

  const operations = { encrypt: () => awsEncrypt(client), decrypt };
  for (const [name, run] of Object.entries(operations)) {
    await check(`aws/${name}/disabled`, { state: { aws: "Disabled" } }, () => refused(run, { name: "DisabledException" }));
    for (const state of ["PendingDeletion", "PendingImport", "PendingReplicaDeletion", "Unavailable"])
      await check(`aws/${name}/${state}`, { state: { aws: state } }, () =>
        refused(run, { name: "KMSInvalidStateException" }),
      );
    await check(`aws/${name}/access-denied`, { allowed: { aws: [] } }, () =>
      refused(run, { name: "AccessDeniedException", "$metadata.httpStatusCode": 400 }),
    );
    await check(`aws/${name}/throttled`, { faults: { aws: { status: 400, body: { __type: "ThrottlingException" } } } }, () =>
      refused(run, { name: "ThrottlingException" }),
    );
    await check(`aws/${name}/internal`, { faults: { aws: { status: 500, body: { __type: "KMSInternalException" } } } }, () =>
      refused(run, { name: "KMSInternalException", $fault: "server" }),
    );
    await check(`aws/${name}/unknown-identity`, { known: false }, () => refused(run, { name: "UnrecognizedClientException" }));
    // A client may set its clock by the answer and go on; then it is not refused at all.
    await check(`aws/${name}/clock`, { skew_s: 4000 }, () => refused(run, { name: "InvalidSignatureException" }));
  }
  for (const state of ["Disabled", "PendingDeletion", "PendingImport", "Unavailable"])
    await check(`aws/describe/${state}`, { state: { aws: state } }, async () =>
      assert.equal((await describe()).KeyMetadata.KeyState, state),
    );
  await check("aws/describe/access-denied", { allowed: { aws: [] } }, () => refused(describe, { name: "AccessDeniedException" }));
  await check("aws/encrypt/not-found", {}, () =>
    refused(() => awsEncrypt(client, awsKey.replace(/.$/, "f")), { name: "NotFoundException" }),
  );
  await check("aws/encrypt/invalid-arn", {}, () =>
    refused(() => awsEncrypt(client, "arn:aws:kms:nowhere"), { name: "InvalidArnException" }),
  );
  await check("aws/decrypt/context", {}, () =>
    refused(() => client.send(new DecryptCommand({ KeyId: awsKey, CiphertextBlob, EncryptionContext: { workspace: "v" } })), {
      name: "InvalidCiphertextException",
    }),
  );
  await check("aws/static/wrong-secret", {}, () =>
    refused(() => awsEncrypt(awsClient({ ...own, secretAccessKey: "wrong" })), { name: "InvalidSignatureException" }),
  );
  await check("aws/session-token/missing", {}, () =>
    refused(() => awsEncrypt(awsClient({ ...awsStatic("aws-session"), sessionToken: undefined })), {
      name: "UnrecognizedClientException",
    }),
  );
  await check("aws/assume-role/external-id", {}, () => refused(() => awsAssume(own, "tenant-4712"), { name: "AccessDenied" }));
  await check("aws/assume-role/withdrawn", { role_allowed: false }, () =>
    refused(() => awsAssume(own, "tenant-4711"), { name: "AccessDenied", "$metadata.httpStatusCode": 403 }),
  );
  await check("aws/assume-role/unknown-identity", { known: false }, () =>
    refused(() => awsAssume(own, "tenant-4711"), { name: "InvalidClientTokenId" }),
  );
}

// --- Azure

const azureOptions = { serviceVersion: "7.4", disableChallengeResourceVerification: true, retryOptions: { maxRetries: 0 } };

async function azureToken(form) {
  const { tenant_id: tenant, client_id, client_secret } = file("azure-secret");
  const response = await fetch(`${origin}/${tenant}/oauth2/v2.0/token`, {
    method: "POST",
    body: new URLSearchParams({
      grant_type: "client_credentials",
      scope: "https://vault.azure.net/.default",
      client_id,
      client_secret,
      ...form,
    }),
  });
  return { status: response.status, ...(await response.json()) };
}

async function azureManagedToken() {
  const path = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net";
  return (await fetch(metadata + path, { headers: { Metadata: "true" } })).json();
}

const azureCredential = (fetchToken) => ({
  async getToken() {
    const { access_token: token, expires_in: expires } = await fetchToken();
    return { token, expiresOnTimestamp: Date.now() + Number(expires) * 1000 };
  },
});

async function azureRoundTrip(credential) {
  const key = await new KeyClient(origin, credential, azureOptions).getKey("sdk");
  assert.equal(key.properties.enabled, true);
  const client = new CryptographyClient(key, credential, azureOptions);
  const wrapped = await client.wrapKey("RSA-OAEP-256", secret);
  assert.equal(wrapped.keyID, key.id);
  const { result } = await client.unwrapKey("RSA-OAEP-256", wrapped.result);
  assert.deepEqual(Buffer.from(result), secret);
}

async function azure() {
  const credential = azureCredential(azureToken);
  const keys = new KeyClient(origin, credential, azureOptions);
  const key = await keys.getKey("sdk");
  // By its id alone, so that nothing is wrapped by the client itself.
  const client = new CryptographyClient(key.id, credential, azureOptions);
  const { result: wrapped } = await client.wrapKey("RSA-OAEP-256", secret);
  const operations = {
    wrap: () => client.wrapKey("RSA-OAEP-256", secret),
    unwrap: () => client.unwrapKey("RSA-OAEP-256", wrapped),
  };

  await check("azure/client-secret", {}, () => azureRoundTrip(credential));
  await check("azure/managed-identity", {}, () => azureRoundTrip(azureCredential(azureManagedToken)));
  for (const [name, run] of Object.entries(operations)) {
    const expect = (statusCode, code) => () => refused(run, { name: "RestError", statusCode, code });
    await check(`azure/${name}/disabled`, { state: { azure: "disabled" } }, expect(403, "Forbidden"));
    await check(`azure/${name}/deleted`, { state: { azure: "deleted" } }, expect(404, "KeyNotFound"));
    await check(`azure/${name}/forbidden`, { allowed: { azure: [] } }, expect(403, "Forbidden"));
    await check(`azure/${name}/firewall`, { state: { azure: "firewall" } }, expect(403, "Forbidden"));
    await check(`azure/${name}/throttled`, { faults: { azure: { status: 429, body: { error: { code: "Throttled" } } } } },
      expect(429, "Throttled"));
    await check(`azure/${name}/unavailable`, { faults: { azure: { status: 503 } } }, () => refused(run, { statusCode: 503 }));
    // Not by the client above, which would keep the token that was refused.
    const stranger = new CryptographyClient(key.id, azureCredential(async () => ({ access_token: "x", expires_in: 60 })), azureOptions);
    await check(`azure/${name}/unknown-token`, {}, () =>
      refused(() => stranger[`${name}Key`]("RSA-OAEP-256", wrapped), { statusCode: 401, code: "Unauthorized" }),
    );
  }
  const inner = async (order, code) => {
    await control(order);
    try {
      await operations.unwrap();
    } catch (error) {
      assert.equal(error.details.error.innerError.code, code);
      return;
    }
    assert.fail("it was not refused");
  };
  await check("azure/inner-error/disabled", {}, () => inner({ state: { azure: "disabled" } }, "KeyDisabled"));
  await check("azure/inner-error/rbac", {}, () => inner({ allowed: { azure: [] } }, "ForbiddenByRbac"));
  await check("azure/inner-error/firewall", {}, () => inner({ state: { azure: "firewall" } }, "ForbiddenByFirewall"));
  await check("azure/describe/disabled", { state: { azure: "disabled" } }, async () =>
    assert.equal((await keys.getKey("sdk")).properties.enabled, false),
  );
  await check("azure/describe/not-found", {}, () => refused(() => keys.getKey("other"), { statusCode: 404, code: "KeyNotFound" }));
  await check("azure/unwrap/damaged", {}, () =>
    refused(() => client.unwrapKey("RSA-OAEP-256", Buffer.alloc(256, 7)), { statusCode: 400, code: "BadParameter" }),
  );
  await check("azure/client-secret/wrong", {}, async () => {
    const reply = await azureToken({ client_secret: "wrong" });
    assert.equal(reply.status, 401);
    assert.equal(reply.error, "invalid_client");
  });
}

// --- Google

const googleKey = "projects/p-1/locations/europe-west3/keyRings/r/cryptoKeys/k";
const additionalAuthenticatedData = Buffer.from("workspace=w");

function crc32c(data) {
  let crc = 0xffffffff;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

const googleClient = (authClient) =>
  new kms.KeyManagementServiceClient({ authClient, apiEndpoint: "127.0.0.1", port, fallback: true, projectId: "p-1" });
const once = { retry: null, timeout: 10000 };

// In REST mode this version throws the body as it came; the library's own decoder says what is in it.
async function decoded(run) {
  try {
    return await run();
  } catch (error) {
    throw GoogleError.parseHttpError(JSON.parse(error.message));
  }
}

async function googleRoundTrip(client) {
  const [encrypted] = await client.encrypt({
    name: googleKey,
    plaintext: secret,
    plaintextCrc32c: { value: crc32c(secret) },
    additionalAuthenticatedData,
    additionalAuthenticatedDataCrc32c: { value: crc32c(additionalAuthenticatedData) },
  }, once);
  assert.equal(encrypted.name, `${googleKey}/cryptoKeyVersions/1`);
  assert.equal(encrypted.verifiedPlaintextCrc32c, true);
  assert.equal(encrypted.verifiedAdditionalAuthenticatedDataCrc32c, true);
  assert.equal(Number(encrypted.ciphertextCrc32c.value), crc32c(encrypted.ciphertext));
  const [decrypted] = await client.decrypt({
    name: googleKey,
    ciphertext: encrypted.ciphertext,
    ciphertextCrc32c: { value: crc32c(encrypted.ciphertext) },
    additionalAuthenticatedData,
  }, once);
  assert.deepEqual(Buffer.from(decrypted.plaintext), secret);
  assert.equal(Number(decrypted.plaintextCrc32c.value), crc32c(secret));
  const [key] = await client.getCryptoKey({ name: googleKey }, once);
  assert.equal(key.primary.state, "ENABLED");
  return encrypted.ciphertext;
}

// A client with a service account's token: the library's own assertion, sent to the stand-in.
async function accountClient() {
  const { client_email: email, private_key: key } = file("account.json");
  const transporter = { request: (options) => new Gaxios().request({ ...options, url: `${origin}/token` }) };
  const token = new GoogleToken({ email, key, scope: "https://www.googleapis.com/auth/cloudkms", transporter });
  const client = new OAuth2Client();
  client.setCredentials(await token.getToken());
  return client;
}

async function google() {
  const client = googleClient(new Compute());
  const ciphertext = await googleRoundTrip(client);
  const operations = {
    encrypt: () => decoded(() => client.encrypt({ name: googleKey, plaintext: secret, additionalAuthenticatedData }, once)),
    decrypt: () => decoded(() => client.decrypt({ name: googleKey, ciphertext, additionalAuthenticatedData }, once)),
  };

  await check("google/metadata", {}, () => googleRoundTrip(googleClient(new Compute())));
  await check("google/service-account", {}, async () => googleRoundTrip(googleClient(await accountClient())));
  for (const [name, run] of Object.entries(operations)) {
    const expect = (code, reason) => () => refused(run, reason ? { code, reason } : { code });
    for (const state of ["DISABLED", "DESTROY_SCHEDULED", "DESTROYED"])
      await check(`google/${name}/${state}`, { state: { google: state } }, () =>
        refused(run, { code: 9, "statusDetails.0.violations.0.type": "KEY_DISABLED" }),
      );
    await check(`google/${name}/permission`, { allowed: { google: [] } }, expect(7, "IAM_PERMISSION_DENIED"));
    await check(`google/${name}/gone`, { state: { google: "GONE" } }, expect(5));
    await check(`google/${name}/exhausted`,
      { faults: { google: { status: 429, body: { error: { code: 429, status: "RESOURCE_EXHAUSTED", message: "Quota" } } } } }, expect(8));
    await check(`google/${name}/unavailable`,
      { faults: { google: { status: 503, body: { error: { code: 503, status: "UNAVAILABLE", message: "Later" } } } } }, expect(14));
    await check(`google/${name}/unknown-token`, { known: false }, expect(16, "ACCESS_TOKEN_EXPIRED"));
  }
  for (const state of ["DISABLED", "DESTROY_SCHEDULED"])
    await check(`google/describe/${state}`, { state: { google: state } }, async () => {
      const [key] = await client.getCryptoKey({ name: googleKey }, once);
      assert.equal(key.primary.state, state);
      const [version] = await client.getCryptoKeyVersion({ name: `${googleKey}/cryptoKeyVersions/1` }, once);
      assert.equal(version.state, state);
    });
  await check("google/decrypt/context", {}, () =>
    refused(
      () => decoded(() => client.decrypt({ name: googleKey, ciphertext, additionalAuthenticatedData: Buffer.from("v") }, once)),
      { code: 3 },
    ),
  );
  await check("google/encrypt/wrong-crc", {}, () =>
    refused(
      () => decoded(() => client.encrypt({ name: googleKey, plaintext: secret, plaintextCrc32c: { value: 1 } }, once)),
      { code: 3 },
    ),
  );
  await check("google/service-account/refused", { known: false }, async () => {
    await assert.rejects(accountClient(), /invalid_grant/);
  });
}

for (const cloud of [aws, azure, google]) {
  try {
    await control({ reset: true });
    await cloud();
  } catch (error) {
    failed += 1;
    console.log(`    ${error.stack}\nnot ok conformance/${cloud.name}`);
  }
}
process.exit(failed > 0 ? 1 : 0);

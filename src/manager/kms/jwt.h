/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 7519 assertions signed by RS256 (RFC 7518 section 3.3). */
#pragma once

#include <jansson.h>
#include <stddef.h>

/* Signs HEADER and CLAIMS with the RSA key of 2,048 bits or more in PEM into TOKEN (SIZE bytes).
 * -EBADMSG where the PEM is no such key, -EMSGSIZE, -EIO. */
int jwt_sign_rs256(const json_t *header, const json_t *claims, const char *pem, size_t pem_size,
		   char *token, size_t size);

/* base64url of the SHA-1 of the first certificate in PEM: the x5t of RFC 7515. -EBADMSG. */
int jwt_thumbprint(const char *pem, size_t pem_size, char text[static 32]);

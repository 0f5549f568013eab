// A real OpenID provider with its own login page, for tests. Prints its issuer, and ends with its standard input.
//
// Whoever signs in with any password is a member of the groups below; the subject is the login itself.

import { createServer } from "node:http";
import Provider from "oidc-provider";

const GROUPS = { alice: ["staff"], olga: ["staff", "ops"], anna: ["staff", "admins"], bob: ["staff"], mallory: ["guests"] };

const server = createServer();
await new Promise((listening) => server.listen(0, "localhost", listening));
const issuer = `http://localhost:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "codeact",
      client_secret: "a secret of the client that has enough characters",
      // A native client may come back to any port of the loopback address (RFC 8252, 7.3).
      application_type: "native",
      redirect_uris: ["http://127.0.0.1/login/callback"],
    },
    {
      client_id: "public",
      token_endpoint_auth_method: "none",
      application_type: "native",
      redirect_uris: ["http://127.0.0.1/login/callback"],
    },
  ],
  claims: { openid: ["sub"], profile: ["name"], email: ["email", "email_verified"], groups: ["groups"] },
  scopes: ["openid", "profile", "email", "groups"],
  pkce: { required: () => true },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      name: `${id[0].toUpperCase()}${id.slice(1)}`,
      email: `${id}@example.com`,
      email_verified: id !== "mallory",
      groups: GROUPS[id] ?? [],
    }),
  }),
  cookies: { keys: ["a key of the cookies of this provider"] },
});
server.on("request", provider.callback());
process.stdin.resume().on("end", () => process.exit());
console.log(issuer);

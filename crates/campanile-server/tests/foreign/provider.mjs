// A foreign identity provider, on loopback at a free port: whoever logs in by a name gets in, and `ada` is of the ops.
// Prints its issuer, and ends with its standard input.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// Nobody reads standard output behind the issuer.
console.info = console.error;
const folder = process.argv[2];
const require = createRequire(pathToFileURL(`${folder}/`));
const { default: Provider } = await import(pathToFileURL(require.resolve("oidc-provider")));

const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{
      client_id: "campanile",
      client_secret: "a-secret-between-the-two",
      redirect_uris: ["http://127.0.0.1:9/login/oidc/callback"],
      grant_types: ["authorization_code"],
      response_types: ["code"],
    }],
    claims: { openid: ["sub"], profile: ["preferred_username", "groups"], email: ["email"] },
    // As Keycloak and others do: the claims are in the id token itself.
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    cookies: { keys: ["a key of a test"] },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, preferred_username: id, groups: id === "ada" ? ["ops"] : ["others"] }),
    }),
  });
  server.on("request", provider.callback());
  process.stdout.write(`${issuer}\n`);
});
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));

// container.mjs ENDPOINT KEY CONTAINER: makes a container by a request signed with the account's key, as soon as the
// server at ENDPOINT (http://HOST:PORT/ACCOUNT) answers.
import { createHmac } from "node:crypto";

const [endpoint, key, container] = process.argv.slice(2);
const account = new URL(endpoint).pathname.slice(1);
const date = new Date().toUTCString();
const version = "2021-12-02";
// The eleven empty lines are headers that this request does not have.
const signed = ["PUT", ...Array(11).fill(""), `x-ms-date:${date}`, `x-ms-version:${version}`]
  .concat(`/${account}/${account}/${container}`, "restype:container").join("\n");
const signature = createHmac("sha256", Buffer.from(key, "base64")).update(signed).digest("base64");
const headers = { "x-ms-date": date, "x-ms-version": version, authorization: `SharedKey ${account}:${signature}` };

for (let tries = 1; ; tries++) {
  try {
    const answer = await fetch(`${endpoint}/${container}?restype=container`, { method: "PUT", headers });
    if (answer.status === 201) break;
    throw Object.assign(new Error(`the server answered ${answer.status}: ${await answer.text()}`), { isFinal: true });
  } catch (error) {
    if (error.isFinal || tries >= 300) throw error;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

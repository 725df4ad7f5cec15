// GitHub's own libraries at the deploy endpoint: what they sign is signed for us, what we sign is signed for them, and every
// example of an event that they have is understood.
//
//     octokit_client.mjs LIBRARIES URL SECRET OUR_BODY OUR_SIGNATURE
//
// Prints how many examples of which event were answered how. Exit code 77: the libraries are not there.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [libraries, url, secret, ourBody, ourSignature] = process.argv.slice(2);
let methods, examples;
try {
  methods = await import(pathToFileURL(`${libraries}/@octokit/webhooks-methods/dist-node/index.js`));
  examples = JSON.parse(readFileSync(`${libraries}/@octokit/webhooks-examples/api.github.com/index.json`));
} catch (error) {
  console.error(error.message);
  process.exit(77);
}

function wanted(is, what) {
  if (!is) throw new Error(what);
}

wanted(await methods.verify(secret, ourBody, ourSignature), "our signature is not theirs");
wanted(!(await methods.verify(secret, ourBody + " ", ourSignature)), "our signature is of another body, too");
wanted((await methods.sign(secret, ourBody)) === ourSignature, "they sign otherwise");

async function send(event, body, signature) {
  const headers = {
    "Content-Type": "application/json",
    "User-Agent": "GitHub-Hookshot/test",
    "X-GitHub-Event": event,
    "X-GitHub-Delivery": crypto.randomUUID(),
    "X-Hub-Signature": "sha1=0000000000000000000000000000000000000000",
    "X-Hub-Signature-256": signature,
  };
  const answer = await fetch(url, { method: "POST", headers, body });
  return { status: answer.status, told: await answer.json(), place: answer.headers.get("location") };
}

const counts = {};
for (const { name, examples: payloads } of examples) {
  for (const payload of payloads) {
    const body = JSON.stringify(payload);
    const signature = await methods.sign(secret, body);
    const { status, told, place } = await send(name, body, signature);
    wanted(status !== 202 || place === `/runs/${told.run}`, `${name}: ${place}`);
    const key = `${["ping", "push", "workflow_run"].includes(name) ? name : "others"} ${status} ${told.status}`;
    counts[key] = (counts[key] ?? 0) + 1;
    const forged = await send(name, body + " ", signature);
    wanted(forged.status === 401, `${name}: a forged body is answered ${forged.status}`);
  }
}
for (const key of Object.keys(counts).sort()) console.log(`${key}: ${counts[key]}`);

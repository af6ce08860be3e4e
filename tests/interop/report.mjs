// What a peer on node says on standard output, one line a check; tests/support/peer.rs reads it.
import { isDeepStrictEqual, inspect } from "node:util";

// Runs one check: it fails when it throws.
export async function check(name, act) {
  try {
    await act();
    console.log(`ok ${name}`);
  } catch (error) {
    console.log(`failed ${name}: ${String(error.cause ?? error.message).replaceAll("\n", " ")}`);
  }
}

export function same(found, wanted) {
  if (!isDeepStrictEqual(found, wanted)) {
    throw new Error(`${inspect(found).slice(0, 200)} instead of ${inspect(wanted).slice(0, 200)}`);
  }
}

// Bytes in which a lost or doubled piece shows.
export const pattern = (length) => Buffer.from({ length }, 0).map((_, at) => at % 251);

export const TEN_MIB = 10 << 20;

// The checks that a client of every version passes, by its own calls: `get` and `head` of the page, `echo` of content, `ask`
// for an answer with its content.
export async function checkBasics({ get, head, echo, ask }) {
  await check("GET", get);
  await check("HEAD", head);
  await check("POST echoed", () => echo(Buffer.from("some words")));
  await check("empty POST", () => echo(Buffer.alloc(0)));
  await check("10 MiB down", async () => same((await ask("GET", `/bytes?n=${TEN_MIB}`)).content.length, TEN_MIB));
  await check("10 MiB up and back", () => echo(pattern(TEN_MIB)));
}

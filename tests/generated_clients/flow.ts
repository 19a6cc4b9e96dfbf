// A flow through the service by the client that is generated in TypeScript; prints what it has done, line by line.

import { strict as assert } from "node:assert";

import { createClient, createConfig } from "../../build/clients/typescript/client";
import {
    authCreateToken,
    itemsBulkCreate,
    itemsCreate,
    itemsDelete,
    itemsList,
    itemsRead,
    itemsUpdate,
    usersCreate,
} from "../../build/clients/typescript/sdk.gen";
import type { ItemBulkOutcome, ItemRead, ItemReadPartial, ItemsListErrors, ItemsListResponses, Problem } from "../../build/clients/typescript/types.gen";

const baseUrl = process.argv[2] ?? "http://127.0.0.1:8000";
let token = "";
const client = createClient(createConfig({ baseUrl, auth: () => token }));

/** The value, which is there. */
function present<T>(value: T | null | undefined): T {
    assert.ok(value !== null && value !== undefined);
    return value;
}

async function logIn(): Promise<void> {
    const credentials = { username: "wanda", password: "correct horse battery" };
    await usersCreate({ client, body: { ...credentials, email: "wanda@example.com" } });
    const refused = await authCreateToken({ client, body: { ...credentials, password: "wrong horse battery" } });
    const problem: Problem = present(refused.error);
    assert.equal(problem.type, "urn:problem:unauthenticated");
    const answer = await authCreateToken({ client, body: credentials });
    token = present(answer.data).access_token;
    console.log("logged in");
}

async function create(): Promise<ItemRead> {
    const answer = await itemsCreate({
        client,
        body: { name: "Teapot", price: "9.99" },
        headers: { "Idempotency-Key": "teapot" },
    });
    const item: ItemRead = present(answer.data);
    assert.equal(item.price, "9.99");
    assert.equal(answer.response?.headers.get("Location"), `/items/${item.id}`);
    console.log("created");
    return item;
}

async function list(): Promise<void> {
    for (const [name, price] of [["Cosy", 4], ["Kettle", 30], ["Spoon", 4]] as const) {
        present((await itemsCreate({ client, body: { name, price } })).data);
    }
    const names = ["Cosy", "Kettle", "Spoon"];
    const query = { sort: "price,-name", name__in: names, limit: 2, fields: ["id" as const, "name" as const] };
    const answer = await itemsList({ client, query });
    const page: ItemReadPartial[] = present(answer.data);
    assert.deepEqual(page.map((item) => item.name), ["Spoon", "Cosy"]);
    assert.equal(page[0]?.price, undefined);
    const next = present(/^<([^>]*)>/.exec(present(answer.response?.headers.get("Link")))?.[1]);
    const security = [{ scheme: "bearer", type: "http" } as const];
    const rest = await client.get<ItemsListResponses, ItemsListErrors>({ url: next, security });
    assert.deepEqual(present(rest.data).map((item) => item.name), ["Kettle"]);
    assert.equal(rest.response?.headers.get("Link"), null);
    console.log("listed, and followed Link");
}

async function update(item: ItemRead): Promise<void> {
    const path = { item_id: item.id };
    const tag = present((await itemsRead({ client, path })).response?.headers.get("ETag"));
    const changed = await itemsUpdate({ client, path, body: { price: "8.50" }, headers: { "If-Match": tag } });
    assert.equal(present(changed.data).version, item.version + 1);
    const late = await itemsUpdate({ client, path, body: { price: "7.50" }, headers: { "If-Match": tag } });
    assert.equal(present<Problem>(late.error).status, 412);
    console.log("updated once, and refused the second time");
}

async function createMany(): Promise<void> {
    const body = [{ name: "Cup", price: "2.00" }, { name: " ", price: "2.00" }];
    const answer = await itemsBulkCreate({ client, body, query: { on_error: "skip" } });
    assert.equal(answer.response?.status, 207);
    const outcome = present(answer.data);
    assert.ok("failed" in outcome);
    const { created, failed }: ItemBulkOutcome = outcome;
    assert.deepEqual(created.map((item) => item.name), ["Cup"]);
    assert.equal(failed[0]?.index, 1);
    assert.equal(failed[0]?.problem.errors?.[0]?.pointer, "#/1/name");
    console.log("created the valid ones of many");
}

async function remove(item: ItemRead): Promise<void> {
    const path = { item_id: item.id };
    assert.equal((await itemsDelete({ client, path })).response?.status, 204);
    const gone: Problem = present((await itemsRead({ client, path })).error);
    assert.equal(gone.type, "urn:problem:not-found");
    console.log("deleted");
}

async function main(): Promise<void> {
    await logIn();
    const item = await create();
    await list();
    await update(item);
    await createMany();
    await remove(item);
}

main().catch((failure: unknown) => {
    console.error(failure);
    process.exitCode = 1;
});

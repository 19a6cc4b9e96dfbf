// Node's Fastify on pg: prepared statements, and schemas by which it writes JSON fast.
import Fastify from 'fastify'
import pg from 'pg'

pg.types.setTypeParser(pg.types.builtins.INT8, Number)
// Text to text: a Date would lose the microseconds. PostgreSQL is asked for UTC.
pg.types.setTypeParser(pg.types.builtins.TIMESTAMPTZ, (text) => text.replace(' ', 'T').replace('+00', 'Z'))

const max = Number(process.env.POOL_SIZE) + Number(process.env.POOL_OVERFLOW)
// Connections are kept: opening them again would be measured too.
const kept = { max, idleTimeoutMillis: 0 }
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, ...kept, options: '-c timezone=UTC' })
const app = Fastify({ logger: false })

const COLUMNS = 'id, name, secret_name, age, power, team_id, version, created_at, updated_at'
const CHANGEABLE = ['name', 'secret_name', 'age', 'power', 'team_id']
const ONE = `SELECT ${COLUMNS} FROM hero WHERE id = $1`
const MANY = `SELECT ${COLUMNS} FROM hero ORDER BY id LIMIT $1 OFFSET $2`
const FILTERED = `SELECT ${COLUMNS} FROM hero WHERE age >= $3 ORDER BY power DESC, id DESC LIMIT $1 OFFSET $2`
const ADDED = `INSERT INTO hero (name, secret_name, age, power, team_id, version, created_at, updated_at)
  VALUES ($1, $2, $3, $4, $5, 1, $6, $6) RETURNING ${COLUMNS}`
const ALL_ADDED = `INSERT INTO hero (name, secret_name, age, power, team_id, version, created_at, updated_at)
  SELECT *, 1, $6::timestamptz, $6::timestamptz
  FROM unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::bigint[]) RETURNING ${COLUMNS}`
const POSTS = `SELECT post.id, title, body, author_id, post.version, post.created_at, post.updated_at,
  "user".id AS author_key, username FROM post JOIN "user" ON "user".id = author_id
  ORDER BY post.created_at DESC, post.id DESC LIMIT $1`

const integer = { type: 'integer' }
const optional = { type: 'integer', nullable: true }
const string = { type: 'string' }
const stamps = { version: integer, created_at: string, updated_at: string }
const fields = { name: string, secret_name: string, age: optional, power: integer, team_id: optional }
const hero = { type: 'object', properties: { id: integer, ...fields, ...stamps } }
const heroes = { type: 'array', items: hero }
const author = { type: 'object', properties: { id: integer, username: string } }
const post = { type: 'object', properties: { id: integer, title: string, body: string, author_id: integer, ...stamps, author } }
const posts = { type: 'array', items: post }
const body = { type: 'object', required: ['name', 'secret_name'], properties: fields }
const params = { type: 'object', properties: { id: integer } }
const querystring = {
  type: 'object',
  properties: { limit: { ...integer, default: 100 }, offset: { ...integer, default: 0 }, age__gte: integer, sort: string },
}

const rows = async (name, text, values) => (await pool.query({ name, text, values })).rows
const found = (list, reply) => list[0] ?? reply.code(404).send({ detail: 'Hero not found' })

app.get('/heroes/', { schema: { querystring, response: { 200: heroes } } }, ({ query }) =>
  query.age__gte === undefined
    ? rows('many', MANY, [query.limit, query.offset])
    : rows('filtered', FILTERED, [query.limit, query.offset, query.age__gte]))

app.get('/heroes/:id', { schema: { params, response: { 200: hero } } }, async (request, reply) =>
  found(await rows('one', ONE, [request.params.id]), reply))

app.post('/heroes/', { schema: { body, response: { 201: hero } } }, async ({ body: new_ }, reply) => {
  reply.code(201)
  const values = [new_.name, new_.secret_name, new_.age ?? null, new_.power ?? 0, new_.team_id ?? null, new Date()]
  return (await rows('added', ADDED, values))[0]
})

app.post('/heroes/bulk', { schema: { body: { type: 'array', items: body }, response: { 201: heroes } } }, (request, reply) => {
  reply.code(201)
  const columns = CHANGEABLE.map((name) => request.body.map((one) => one[name] ?? (name === 'power' ? 0 : null)))
  return rows('all-added', ALL_ADDED, [...columns, new Date()])
})

app.patch('/heroes/:id', { schema: { params, response: { 200: hero } } }, async (request, reply) => {
  const names = CHANGEABLE.filter((name) => name in request.body)
  const sets = names.map((name, place) => `${name} = $${place + 3}, `).join('')
  const text = `UPDATE hero SET ${sets}version = version + 1, updated_at = $2 WHERE id = $1 RETURNING ${COLUMNS}`
  const values = [request.params.id, new Date(), ...names.map((name) => request.body[name])]
  return found(await rows(`changed-${names}`, text, values), reply)
})

app.get('/posts/', { schema: { querystring, response: { 200: posts } } }, async ({ query }) =>
  (await rows('posts', POSTS, [query.limit])).map(({ author_key: id, username, ...one }) => ({ ...one, author: { id, username } })))

await app.listen({ host: '127.0.0.1', port: Number(process.argv[2]) })
process.on('SIGTERM', () => app.close().then(() => pool.end()))

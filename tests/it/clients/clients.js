// Node's clients of both versions against a listener. HOST PORT PASSWORD DATABASE URL TOKEN BUCKET
const assert = require('node:assert')
const {InfluxDB: Influx1} = require('influx')
const {InfluxDB, Point, HttpError} = require('@influxdata/influxdb-client')

const [host, port, password, database, url, token, bucket] = process.argv.slice(2)

async function version1() {
  const client = new Influx1({host, port: Number(port), database, username: 'me', password})
  await client.createDatabase(database)
  assert((await client.getDatabaseNames()).includes(database))
  assert((await client.ping(5000))[0].online)
  const points = Array.from({length: 2000}, (_, n) => ({
    measurement: 'node1', tags: {n: String(n % 7)}, fields: {i: n + 1, s: 'quo"te'}, timestamp: n + 1,
  }))
  await client.writePoints(points, {precision: 'ms'})
  const wrong = new Influx1({host, port: Number(port), database, username: 'me', password: 'wrong'})
  await assert.rejects(wrong.writePoints(points.slice(0, 1)), /authorization failed/)
}

async function version2() {
  const write = new InfluxDB({url, token}).getWriteApi('o', bucket, 'ns', {maxRetries: 0, batchSize: 500})
  for (let n = 1; n <= 2000; n++) {
    write.writePoint(new Point('node2').tag('n', String(n % 7)).intField('i', n).timestamp(String(n)))
  }
  await write.close()
  const bad = new InfluxDB({url, token}).getWriteApi('o', bucket, 'ns', {maxRetries: 0})
  bad.writeRecord('no line')
  await assert.rejects(bad.flush(), error => error instanceof HttpError && error.statusCode === 400)
}

version1().then(version2).catch(error => {
  console.error(error)
  process.exit(1)
})

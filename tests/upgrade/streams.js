// A client of HTTP/2 of other people's making (Node) that asks for a WebSocket on a stream:  streams.js http://HOST:PORT
const client = require('http2').connect(process.argv[2]);
setTimeout(() => process.exit(9), 20000).unref();
client.on('error', (error) => { console.error(error); process.exit(1); });
client.on('remoteSettings', (settings) => {
  if (!settings.enableConnectProtocol) { console.error('no extended CONNECT is offered'); process.exit(2); }
  const stream = client.request({
    ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/ws', 'sec-websocket-version': '13',
  });
  let heard = '';
  stream.setEncoding('latin1');
  stream.on('response', (head) => {
    if (head[':status'] !== 200) { console.error(head); process.exit(3); }
    // One frame of text, masked with zeros: "hello"; its answer is not masked.
    stream.write(Buffer.from([0x81, 0x85, 0, 0, 0, 0, ...Buffer.from('hello')]));
  });
  stream.on('data', (piece) => {
    heard += piece;
    if (heard === '\x81\x05hello') {
      // Goodbye, 1000.
      stream.write(Buffer.from([0x88, 0x82, 0, 0, 0, 0, 3, 232]));
    }
  });
  stream.on('end', () => {
    console.log(JSON.stringify(heard));
    process.exit(heard === '\x81\x05hello\x88\x02\x03\xe8' ? 0 : 4);
  });
});

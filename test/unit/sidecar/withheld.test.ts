/** Deliveries that are kept from the app for a while: in what order they reach it, and that all do. */
import { expect, test } from 'vitest';
import { AppSide } from '../../../webhook/sidecar/app-side.ts';
import { BrokerSide } from '../../../webhook/sidecar/broker-side.ts';
import { Channel, type Consumer } from '../../../webhook/sidecar/channel.ts';
import { FRAME, Splitter } from '../../../webhook/sidecar/frames.ts';
import { ARGUMENTS, encode, METHOD, methodOf, readTag } from '../../../webhook/sidecar/methods.ts';
import { Valve } from '../../../webhook/sidecar/tap.ts';
import { Wires } from '../../../webhook/sidecar/wires.ts';
import { content, long, method, octet, tag, text } from './model/frames.ts';

const consumer = (name: string, prefetch: number, noAck = false): Consumer => ({
  tag: name,
  upstreamTag: name,
  queue: name,
  noLocal: false,
  noAck,
  exclusive: false,
  arguments: Buffer.alloc(4),
  prefetch,
  held: 0,
  withheld: 0,
  suspended: false,
});

const set = (...consumers: Consumer[]) => {
  const wires = new Wires(1);
  const channel = new Channel(1);
  channel.state = 'open';
  for (const each of consumers) channel.consumers.set(each.tag, each);
  wires.channels.set(1, channel);
  const [appSide, brokerSide] = [new AppSide(wires), new BrokerSide(wires)];
  const into = (side: AppSide | BrokerSide, ...frames: Buffer[]): void => {
    for (const piece of new Splitter().push(Buffer.concat(frames))) side.handle(piece);
  };
  const body = { correlation: '', body: 'x' };
  return {
    wires,
    channel,
    deliver: (name: string, number: number) =>
      into(
        brokerSide,
        method(1, METHOD.basicDeliver, text(name), tag(number), octet(0), text(''), text(name)),
        ...content(1, body),
      ),
    got: (number: number) => {
      channel.expected.push({ reply: METHOD.basicGetOk, ours: false });
      into(
        brokerSide,
        method(1, METHOD.basicGetOk, tag(number), octet(0), text(''), text('q'), long(0)),
        ...content(1, body),
      );
    },
    fromBroker: (...frames: Buffer[]) => into(brokerSide, ...frames),
    fromApp: (...frames: Buffer[]) => into(appSide, ...frames),
    /** Tags handed to the app since the last look; 0: another method. */
    handed: (): number[] =>
      new Splitter()
        .push(Buffer.concat(wires.toApp.take()))
        .filter(({ type }) => type === FRAME.method)
        .map(({ bytes }) => {
          const id = methodOf(bytes);
          if (id === METHOD.basicDeliver) return readTag(bytes, ARGUMENTS + 1 + bytes[ARGUMENTS]!);
          return id === METHOD.basicGetOk ? readTag(bytes, ARGUMENTS) : 0;
        }),
  };
};

test('what an app asks for comes behind what its prefetch withholds, if it settles several at once: it would settle what it has not', () => {
  const { wires, channel, deliver, got, fromApp, handed } = set(consumer('a', 1));
  wires.guarded = true;
  deliver('a', 1);
  deliver('a', 2);
  got(3);
  // One by one it can't settle what it does not know.
  expect(handed()).toEqual([1, 3]);
  fromApp(encode.settle(1, 'ack', 1, true, false));
  expect(handed()).toEqual([2]);
  deliver('a', 4);
  got(5);
  expect(handed()).toEqual([4, 5]);
  fromApp(encode.settle(1, 'ack', 5, true, false));
  expect(channel.deliveries.size).toBe(0);
  expect(channel.withheld).toEqual([]);
});

test('a throttle lets the channel through in its order, one for each credit; what is asked for comes behind all', () => {
  const { wires, channel, deliver, got, handed } = set(consumer('a', 0), consumer('b', 0));
  wires.valve = new Valve();
  wires.valve.credit = 1;
  deliver('a', 1);
  deliver('a', 2);
  wires.valve.credit = 1;
  // Credit there is, but for the one that waits.
  deliver('b', 3);
  expect(handed()).toEqual([1, 2]);
  expect(wires.release(channel)).toBe(0);
  deliver('a', 4);
  got(5);
  expect(handed()).toEqual([3, 4, 5]);
});

test('what nobody acknowledges is handed out before its consumer is gone: the broker has forgotten it', () => {
  const { wires, deliver, fromBroker, channel, handed } = set(consumer('a', 0, true), consumer('b', 0));
  wires.valve = new Valve();
  wires.valve.credit = 0;
  deliver('a', 1);
  deliver('b', 2);
  channel.expected.push({ reply: METHOD.basicCancelOk, ours: false, tag: 'a' });
  fromBroker(method(1, METHOD.basicCancelOk, text('a')));
  expect(handed()).toEqual([1, 0]);
  expect(channel.withheld.map((each) => each.tag)).toEqual([2]);
});

test('where an app settles several at once it is handed none behind a lower one that waits, but not for ever', () => {
  const { wires, channel, deliver, fromApp, handed } = set(consumer('a', 1), consumer('b', 1));
  wires.guarded = true;
  deliver('b', 1);
  fromApp(encode.settle(1, 'ack', 1, true, false));
  deliver('a', 2);
  deliver('a', 3);
  deliver('b', 4);
  // 4 settled with all before it would settle 3, which the app has never seen.
  expect(handed()).toEqual([1, 2]);
  fromApp(encode.settle(1, 'ack', 2, true, false));
  expect(handed()).toEqual([3, 4]);
  fromApp(encode.settle(1, 'ack', 4, false, false));
  deliver('a', 5);
  deliver('b', 6);
  wires.loosen(channel);
  expect(handed()).toEqual([]);
  // The app may need it to settle what it holds.
  wires.loosen(channel);
  expect(handed()).toEqual([6]);
});

test('where it settles one by one, consumers do not wait for each other', () => {
  const { wires, deliver, handed } = set(consumer('a', 1), consumer('b', 1));
  wires.guarded = true;
  deliver('a', 1);
  deliver('a', 2);
  deliver('b', 3);
  expect(handed()).toEqual([1, 3]);
});

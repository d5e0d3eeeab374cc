/** Where images are fetched from, and which one follows another. */
import { describe, expect, test } from 'vitest';
import { checkImage, nextImage, rehomed } from '../../../plugin/install/images.ts';
import { chosen } from '../../../plugin/install/settings.ts';

describe('an image', () => {
  test.each([
    ['localhost/kubectl-shadow:dev', 'reg.example', 'reg.example/kubectl-shadow:dev'],
    ['kubectl-shadow', 'reg.example:5000/a/', 'reg.example:5000/a/kubectl-shadow'],
    ['reg.one:5000/team/x:1@sha256:ab', 'reg.two', 'reg.two/team/x:1@sha256:ab'],
    ['team/x:1', 'reg.two', 'reg.two/team/x:1'],
  ])('%s from %s is %s', (image, registry, result) => expect(rehomed(image, registry)).toBe(result));
  test.each(['', 'https://x', 'a b', 'x/'.repeat(2).concat('/y')])('registry "%s" is none', (registry) => {
    expect(() => rehomed('x', registry)).toThrow(/is no registry/);
  });
  test.each([
    ['r/x:0.1.0', 'r/x:0.2.0'],
    ['r:5000/x:v0.1.0', 'r:5000/x:v0.2.0'],
    ['r/x:dev', 'r/x:dev'],
    ['r:5000/x', 'r:5000/x'],
  ])('%s is followed by %s', (image, next) => expect(nextImage(image, '0.1.0', '0.2.0')).toBe(next));
  test.each(['r/x@sha256:ab', 'r/x:0.1.0@sha256:ab', 'r/x:0.0.7'])('%s is followed by none that is known', (image) => {
    expect(() => nextImage(image, '0.1.0', '0.2.0')).toThrow(/say --image/);
    expect(nextImage(image, '0.2.0', '0.2.0')).toBe(image);
  });
  test('given anew is not asked what it follows', () => {
    const installed = { settings: { namespace: 'tools', image: 'r/x@sha256:ab' }, from: '0.1.0' };
    expect(chosen('tools', { image: 'r/y:1' }, installed, '0.2.0').image).toBe('r/y:1');
    expect(() => chosen('tools', {}, installed, '0.2.0')).toThrow(/say --image/);
  });
});

describe('an image that is asked for', () => {
  test.each(['a', 'localhost/kubectl-shadow:dev', 'r.example:5000/team/a_b.c-d:0.2.0', `x/y@sha256:${'0'.repeat(64)}`])(
    '%s is one',
    (image) => expect(checkImage(image)).toBe(image),
  );
  test.each(['', 'bad image', 'Upper/Case', 'a//b', 'a:', 'https://r.example/a', '-a', 'a:b:c'])(
    '%j is none',
    (image) => expect(() => checkImage(image)).toThrow(/is no image/),
  );
});

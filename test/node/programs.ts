/** What runs in the test pods, as text for `node -e`. */

/** An echo server on loopback, and the freeze handshake of the real sidecar: no I/O but sleeping and looking for a file. */
export const SIDECAR_APP = `
const net=require('net'),fs=require('fs');let n=0;
net.createServer(s=>{s.setNoDelay(true);s.on('data',d=>{n+=d.length;s.write(d)});s.on('error',e=>console.log(e.message))}).listen(5672,'127.0.0.1');
const cell=new Int32Array(new SharedArrayBuffer(4));
require('http').createServer((q,r)=>{
  const g=new URL(q.url,'http://x').searchParams.get('freeze');
  r.setHeader('connection','close');r.end(String(n));
  if(g)setTimeout(()=>{
    fs.writeFileSync('/shadow/run/frozen',g);
    for(;;){Atomics.wait(cell,0,0,5);let t='';try{t=fs.readFileSync('/shadow/run/thaw','utf8')}catch{}if(t===g)break}
    fs.rmSync('/shadow/run/frozen',{force:true});
  },20);
}).listen(15055,'0.0.0.0');`;

/** Counts over one loopback connection and checks every echo; holds one connection to the outside; has changed its files. `ghost` opens
 * a file with no name that is larger than CRIU takes. */
export const APP = `
const net=require('net'),fs=require('fs');let i=0,exp=0,bad=0,closed='no',buf='',ext='',ghost;
if(fs.existsSync('/data/gone')){fs.rmSync('/data/gone');fs.writeFileSync('/data/new','made',{mode:0o640});
fs.rmSync('/opt/again',{recursive:true});fs.mkdirSync('/opt/again');fs.writeFileSync('/opt/again/fresh','made');
fs.symlinkSync('new','/data/link');fs.writeFileSync('/tmp/kept','in an emptyDir');}
const held=fs.openSync('/tmp/open','w+');
const s=net.connect(5672,'127.0.0.1');s.setNoDelay(true);
setInterval(()=>{if(closed==='no'){s.write((i++)+'\\n');fs.writeSync(held,'x')}},5);
s.on('data',d=>{buf+=d;let p;while((p=buf.indexOf('\\n'))>=0){const v=+buf.slice(0,p);buf=buf.slice(p+1);if(v!==exp)bad++;exp=v+1}});
s.on('close',()=>closed='closed');s.on('error',e=>closed=e.message);
const x=net.connect(7777,process.env.PEER);x.setNoDelay(true);x.on('connect',()=>ext+='connected ');x.on('end',()=>ext+='end ');x.on('error',e=>ext+=e.code+' ');x.on('close',()=>ext+='close ');
const list=d=>{try{return fs.readdirSync(d).sort().join()}catch(e){return e.code}};
require('http').createServer((q,r)=>{if(q.url.includes('ghost=1')){const f=fs.openSync('/tmp/ghost','w');fs.writeSync(f,Buffer.alloc(3e6));fs.rmSync('/tmp/ghost');ghost=f}
if(q.url.includes('ghost=0'))fs.closeSync(ghost);
r.setHeader('connection','close');r.end(JSON.stringify({sent:i,echoed:exp,bad,closed,external:ext,files:{data:list('/data'),again:list('/opt/again'),tmp:list('/tmp')}}))}).listen(9002,'0.0.0.0');`;

"""A Mailgun to try it on: mailing lists over HTTP on loopback, faults on demand, a log of requests, a page to watch.

lists.py     what is held, and Mailgun's rules for changing it
past.py      what was held a while ago, for reads that lag
ascending.py addresses in order, for the pages
pages.py     one page of members, and the links to the others
switches.py  what nobody recorded about Mailgun, played either way
hints.py     how long to wait, told in each of Mailgun's ways
faults.py    faults and the rate limit, as data
call.py      a request once it is read, an answer before it is sent
log.py       what was asked and answered
world.py     one running sandbox: all of the above in one place
api.py       Mailgun's routes: a call becomes a reply
made_up.py   what faults and the limit answer instead
wire.py      calls off the network, replies and faults onto it      (needs aiohttp, as all below)
control.py   the routes under /sandbox/
server.py    listening, until told to stop; a browser sees page.html
client.py    the routes under /sandbox/ from Python                 (needs no aiohttp)
"""

"""A Mailgun sandbox: mailing lists over HTTP on loopback, with faults on demand and a request log.

    stored_member.py     one member as the sandbox holds it
    member_fields.py     what a request says about members, and what Mailgun refuses of it
    lists.py             mailing lists, and Mailgun's rules for changing them
    flanker.py           addresses as Mailgun's parser reads them
    past.py              earlier versions of members, for reads that lag
    sorted_addresses.py  addresses in ascending order, for the pages
    pages.py             one page of members, and the links to the others
    quirks.py            uncertain facts about Mailgun, each a switch
    retry_hints.py       how long to wait, in each form that Mailgun may use
    request.py           a request once it is read, and a reply before it is sent
    faults.py            faults and the rate limit, as data
    request_log.py       requests and their answers
    state.py             one running sandbox: all of the above in one place
    api.py               Mailgun's routes: a request becomes a reply
    fault_replies.py     what faults and the rate limit answer instead
    http.py              requests from the network, replies and faults to it
    control.py           the routes under /sandbox/
    server.py            the HTTP server; a browser gets page.html

Only http.py, control.py and server.py need aiohttp.
"""

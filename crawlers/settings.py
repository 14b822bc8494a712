"""Scrapy settings: be a guest that a site does not mind.

Scrapy asks for plain module constants. What depends on the installation (contact, drill) is laid
over them by ``crawlers.runner``.
"""

BOT_NAME = "tingfeng"
SPIDER_MODULES = ["crawlers.spiders"]
NEWSPIDER_MODULE = "crawlers.spiders"

# Says what we are; the runner adds the address at which a site can complain.
USER_AGENT = "Tingfeng/0.1 (weather bureau public opinion desk)"
DEFAULT_REQUEST_HEADERS = {
    "Accept": "text/html,application/xhtml+xml,application/xml,application/json;q=0.9,*/*;q=0.8",
    "Accept-Language": "zh-CN,zh;q=0.9,en;q=0.5",
}

ROBOTSTXT_OBEY = True
CONCURRENT_REQUESTS = 8
CONCURRENT_REQUESTS_PER_DOMAIN = 1
DOWNLOAD_DELAY = 1.5
DOWNLOAD_DELAY_JITTER = 0.5
AUTOTHROTTLE_ENABLED = True
AUTOTHROTTLE_START_DELAY = 1.5
AUTOTHROTTLE_MAX_DELAY = 60.0
AUTOTHROTTLE_TARGET_CONCURRENCY = 1.0

COOKIES_ENABLED = False
DOWNLOAD_TIMEOUT = 40  # a national warning list needed 25 s when its cache was cold
DOWNLOAD_MAXSIZE = 8 << 20
DOWNLOAD_WARNSIZE = 4 << 20
DOWNLOAD_VERIFY_CERTIFICATES = True
REDIRECT_MAX_TIMES = 5
METAREFRESH_ENABLED = False
RETRY_TIMES = 2
# 403, 418 and 432 mean "go away": asking again would be rude. 429 is asked again, more slowly.
RETRY_HTTP_CODES = [500, 502, 503, 504, 408, 429]
DEPTH_LIMIT = 60
URLLENGTH_LIMIT = 2083

# One event loop, ours; and no port that listens for commands.
TWISTED_REACTOR_ENABLED = False
TELNETCONSOLE_ENABLED = False
REMOTE_CONTROL_ENABLED = False

# The web only: an address in a feed must not open files of this machine.
DOWNLOAD_HANDLERS: dict[str, str | None] = {"file": None, "data": None, "ftp": None, "s3": None}

DOWNLOADER_MIDDLEWARES = {
    "scrapy.downloadermiddlewares.robotstxt.RobotsTxtMiddleware": None,
    "crawlers.politeness.StrictRobots": 100,
    # Sees an answer before redirects (600) are followed: a redirect to a login is a "no".
    "crawlers.politeness.Refusals": 610,
}
EXTENSIONS = {
    "scrapy.extensions.throttle.AutoThrottle": None,
    "scrapy.extensions.logstats.LogStats": None,
    "scrapy.extensions.memusage.MemoryUsage": None,
    "crawlers.politeness.PoliteThrottle": 0,
}
ITEM_PIPELINES = {"crawlers.pipelines.Handover": 100}

LOG_ENABLED = False  # our own log says what an operator needs; Scrapy's would tell of posts
STATS_DUMP = False
